"""``timm:NAME``: models of the timm library (extra ``timm``)."""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

from torch import nn

from epsball.errors import InputError, MissingExtra, ModelError, nearest
from epsball.models.inference_notes import by_x, inferred, numbers
from epsball.models.loaded_model import Known, LoadedModel
from epsball.models.option_values import keyword_arguments
from epsball.models.vision_stub import INSTALL, torchvision_or_stub

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


def as_recorded(module: nn.Module, loaded: LoadedModel, known: Known) -> LoadedModel:
    """Return the model with the normalisation, input size and classes that timm records for its own weights.

    What the text says goes first. A network of any size is taken in the size of the data.
    """
    config: Any = module.pretrained_cfg
    said: dict[str, Any] = {}
    if loaded.mean is None and loaded.std is None:
        said |= {key: tuple(config[key]) for key in ("mean", "std")}
    size = tuple(config.get("input_size", ()))
    data = known["shape"]
    as_data = loaded.shape is None and data is not None and data[:1] == size[:1] and not config.get("fixed_input_size")
    if as_data or loaded.shape is None:
        said["shape"] = data if as_data else size or None
    said["classes"] = loaded.classes or config.get("num_classes")
    notes = (*loaded.notes, inferred(f"the pretrained_cfg of {loaded.name}", said))
    if as_data and data != size:
        notes += (f"{loaded.name} was trained on inputs of {by_x(size)}; it is taken in the size of the data.",)
    return replace(loaded, **said, notes=notes)


def recorded_hint(module: nn.Module, loaded: LoadedModel) -> LoadedModel:
    """Return the model with a note that its text says no normalisation, and which one timm's own weights have."""
    if loaded.mean is not None or loaded.std is not None:
        return loaded
    config: Any = module.pretrained_cfg
    mean, std = (numbers(tuple(config[key])) for key in ("mean", "std"))
    hint = (
        f"{loaded.name} is used without normalisation; timm's own weights of this name take mean={mean},std={std}: "
        "say so if these do too."
    )
    return replace(loaded, notes=(*loaded.notes, hint))


def _import_timm() -> ModuleType:
    try:
        with torchvision_or_stub():
            return import_module("timm")
    except ModuleNotFoundError as error:
        if error.name == "timm":
            raise MissingExtra("timm", "timm", "a model named timm:NAME") from error
        raise _broken(error) from error
    except Exception as error:
        raise _broken(error) from error


def _broken(error: Exception) -> ModelError:
    return ModelError(
        f"timm is installed but cannot be imported: {type(error).__name__}: {error}. Both timm and torchvision must "
        f"fit this PyTorch: {INSTALL}; or export the model elsewhere (torch.export.save) and give the .pt2 file."
    )
