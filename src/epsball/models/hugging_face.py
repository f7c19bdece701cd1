"""``hf:PATH_OR_NAME``: an image classifier as Hugging Face stores it, with its preprocessing and its labels."""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from epsball.errors import InputError, MissingExtra, ModelError, first_line
from epsball.models import timm_models
from epsball.models.inference_notes import by_x, inferred
from epsball.models.loaded_model import Known, LoadedModel, refuse_more, with_weights
from epsball.models.model_text import ModelText
from epsball.models.preprocessor import Preprocessor, read_preprocessor
from epsball.models.vision_stub import torchvision_or_stub

_SAFE, _PICKLED = "*.safetensors", "pytorch_model*.bin"
_PURPOSE = "a model named hf:PATH_OR_NAME"
_SHOWN = 3
"""Class names printed in a note."""


class Logits(nn.Module):
    """A classifier of transformers as a module that returns its logits.

    Parameters
    ----------
    network
        Takes ``pixel_values`` and returns an object with ``logits``.
    flipped
        Whether it takes its channels in the opposite order, blue first.
    """

    def __init__(self, network: nn.Module, *, flipped: bool = False) -> None:
        super().__init__()
        self.network = network
        self.flipped = flipped

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, classes) of inputs (n, channels, height, width)."""
        return self.network(pixel_values=x.flip(1) if self.flipped else x).logits


def hugging_face(request: ModelText, known: Known) -> LoadedModel:
    """Load a folder that ``save_pretrained`` wrote, or a model of the hub, of transformers or of timm.

    Raises
    ------
    MissingExtra
        If transformers is not installed.
    InputError
        If the folder is not that of an image classifier, or does not say its normalisation.
    ModelError
        If the files lack weights of the network, or the library fails to build it.
    """
    refuse_more(request, "a Hugging Face model brings its weights", ("mean", "std", "shape"))
    folder = _folder(request.name.removeprefix("hf:"))
    config = _json(folder / "config.json")
    if "model_type" not in config and "architecture" in config:
        return _of_timm(request, folder, config)
    network = _network(folder)
    if network.config.num_labels < 2 or network.config.problem_type == "multi_label_classification":
        raise InputError(f"{folder} does not choose one class of several; the verbs are about classifiers that do.")
    return _described(request, known, folder, network)


def _described(request: ModelText, known: Known, folder: Path, network: Any) -> LoadedModel:
    """Return the network with what its folder says about it."""
    processor = read_preprocessor(folder)
    if processor is None and (request.mean is None or request.std is None):
        raise InputError(
            f"{folder} has no preprocessor_config.json, so that its normalisation is not known: add mean=..,std=.. "
            "(mean=0,std=1 for none)."
        )
    processor = processor or Preprocessor(mean=(0.0,), std=(1.0,), size=None, flipped=False)
    module = Logits(network, flipped=processor.flipped).float().eval()
    said: dict[str, Any] = {
        "mean": request.mean or processor.mean,
        "std": request.std or processor.std,
        "shape": request.shape or _shape(module, processor, known["shape"]),
        "classes": network.config.num_labels,
    }
    names = tuple(str(network.config.id2label[label]) for label in range(network.config.num_labels))
    first = ", ".join(f"{label} {name}" for label, name in enumerate(names[:_SHOWN]))
    notes = (inferred(f"{request.name} (config.json, preprocessor_config.json)", said), f"its classes: {first}, ...")
    if processor.size is not None and said["shape"] is not None and said["shape"][1:] != processor.size:
        made_for = by_x(processor.size)
        notes += (f"{request.name} was made for pictures of {made_for}; it is taken in the size of the data.",)
    return LoadedModel(
        module=module,
        **said,
        text=request.text,
        name=request.name,
        architecture=request.architecture,
        weights=_weight_file(folder),
        class_names=names,
        notes=notes,
    )


def _shape(module: Logits, processor: Preprocessor, data: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """Return the data's shape if the network takes it, else the size that its pictures are brought to."""
    channels = getattr(module.network.config, "num_channels", 3)
    if data is not None and data[:1] == (channels,) and len(data) == 3:
        try:
            with torch.no_grad():
                module(torch.zeros(1, *data))
        except Exception:  # Any network may refuse a size in any way.
            return None if processor.size is None else (channels, *processor.size)
        return data
    return None if processor.size is None else (channels, *processor.size)


def _network(folder: Path) -> Any:
    """Build the network and load its weights, all of them."""
    with _quietly(), torchvision_or_stub(where_missing=False):
        library = _import_transformers()
        try:
            network, info = library.AutoModelForImageClassification.from_pretrained(
                str(folder),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=any(folder.glob(_SAFE)),
                output_loading_info=True,
            )
        except Exception as error:
            raise ModelError(
                f"transformers could not build an image classifier from {folder}: "
                f"{type(error).__name__}: {first_line(error, 300)}"
            ) from error
    absent = sorted(map(str, (*info["missing_keys"], *info["mismatched_keys"])))
    if absent:
        raise ModelError(
            f"{folder} lacks {len(absent)} of the classifier's weights ({', '.join(absent[:4])}, ...), which would be "
            "drawn at random. Take a model that was trained for classification."
        )
    return network


def _of_timm(request: ModelText, folder: Path, config: dict[str, Any]) -> LoadedModel:
    """Load a folder that timm wrote: its architecture and ``pretrained_cfg``, and a file of weights."""
    recorded = config.get("pretrained_cfg", config)
    size = request.shape or tuple(recorded["input_size"])
    classes = config.get("num_classes", recorded.get("num_classes"))
    module = timm_models.timm_module(config["architecture"], {}, {"shape": size, "classes": classes})
    loaded = with_weights(module, replace(request, weights=_weight_file(folder)), {"shape": size, "classes": classes})
    said = {
        "mean": request.mean or tuple(recorded["mean"]),
        "std": request.std or tuple(recorded["std"]),
        "shape": size,
        "classes": classes,
    }
    return replace(loaded, **said, notes=(*loaded.notes, inferred(f"{request.name} (config.json of timm)", said)))


def _folder(source: str) -> Path:
    """Return the folder that holds the model, fetched from the hub if there is none of that name."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", source):
        raise InputError(
            f"there is no folder {folder}; name one with a config.json, or a model of the hub, OWNER/NAME."
        )
    try:
        hub = import_module("huggingface_hub")
    except ModuleNotFoundError as error:
        raise MissingExtra("transformers", "transformers", _PURPOSE) from error
    try:
        files = hub.list_repo_files(source)
        weights = _SAFE if any(name.endswith(".safetensors") for name in files) else _PICKLED
        return Path(hub.snapshot_download(source, allow_patterns=["*.json", weights]))
    except Exception as error:
        raise InputError(
            f"there is no folder {source}, and the hub gave no model of that name "
            f"({type(error).__name__}: {first_line(error)})."
        ) from error


def _weight_file(folder: Path) -> Path:
    """Return the file of weights, or the first of several."""
    for pattern in (_SAFE, _PICKLED):
        for file in sorted(folder.glob(pattern)):
            return file
    raise InputError(f"{folder} holds no weights ({_SAFE} or {_PICKLED}).")


def _json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path.parent} has no config.json: it is not a Hugging Face model.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}).") from error
    if not isinstance(document, dict):
        raise InputError(f"{path} is not a JSON object.")
    return document


def _import_transformers() -> Any:
    try:
        return import_module("transformers")
    except ModuleNotFoundError as error:
        if error.name == "transformers":
            raise MissingExtra("transformers", "transformers", _PURPOSE) from error
        raise ModelError(f"transformers is installed but cannot be imported: {first_line(error)}") from error
    except Exception as error:
        raise ModelError(f"transformers is installed but cannot be imported: {first_line(error)}") from error


@contextmanager
def _quietly() -> Iterator[None]:
    """Suppress the library's log of what it loads; errors are raised all the same."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
