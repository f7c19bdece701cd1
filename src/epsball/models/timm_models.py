"""``timm:NAME``: models of the timm library (extra ``timm``)."""

import re
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

from torch import nn

from epsball.errors import InputError, MissingExtra, ModelError, nearest
from epsball.models.option_values import keyword_arguments

_READ_OTHERWISE = ("checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")


def timm_module(name: str, options: Mapping[str, str], known: Mapping[str, Any]) -> nn.Module:
    """Build a timm model.

    Parameters
    ----------
    name
        One of ``timm.list_models()``, with or without a tag.
    options
        Texts for ``timm.create_model``: ``pretrained=true``, ``drop_rate=0.1``, ...
    known
        `shape` and `classes` where they are known: they set the channels and the logits.

    Raises
    ------
    MissingExtra
        If timm is not installed.
    ModelError
        If timm cannot be imported, or fails to build the model.
    InputError
        If the name is unknown, or an option would read weights in another way than ours.
    """
    timm = _import_timm()
    if not re.fullmatch(r"[\w.-]+", name) or not timm.is_model(name.partition(".")[0]):
        raise InputError(
            f"timm has no model '{name}'.{nearest(name, timm.list_models())} timm.list_models() lists all; "
            "weights of a hub or a folder are given as timm:NAME@WEIGHTS."
        )
    for key in options:
        if key in _READ_OTHERWISE:
            raise InputError(f"option '{key}' is not passed to timm; give weights as timm:{name}@WEIGHTS.")
    build = partial(timm.create_model, name)
    arguments = keyword_arguments(build, f"timm:{name}", options, {})
    if known.get("shape"):
        arguments.setdefault("in_chans", known["shape"][0])
    if known.get("classes"):
        arguments.setdefault("num_classes", known["classes"])
    try:
        return build(**arguments)
    except Exception as error:
        raise ModelError(f"timm could not build '{name}': {type(error).__name__}: {error}") from error


def pretrained_normalisation(module: nn.Module) -> dict[str, tuple[float, ...]]:
    """Return the mean and std that timm records for its own weights of this module."""
    config: Any = module.pretrained_cfg
    return {key: tuple(config[key]) for key in ("mean", "std")}


def _import_timm() -> ModuleType:
    try:
        return import_module("timm")
    except ModuleNotFoundError as error:
        if error.name == "timm":
            raise MissingExtra("timm", "timm", "a model named timm:NAME") from error
        raise _broken(error) from error
    except Exception as error:
        raise _broken(error) from error


def _broken(error: Exception) -> ModelError:
    return ModelError(
        f"timm is installed but cannot be imported: {type(error).__name__}: {error}. It imports torchvision, "
        "whose build must be the one for this PyTorch; where there is none, export the model elsewhere "
        "(torch.export.save) and give the .pt2 file."
    )
