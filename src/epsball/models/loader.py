"""`load`: a model from its text."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from epsball.errors import InputError, ModelError, nearest
from epsball.graph import GraphModule
from epsball.graph.onnx import read_onnx, runtime_module
from epsball.models import timm_models
from epsball.models.architectures import ARCHITECTURES
from epsball.models.card import read_card
from epsball.models.exported_program import exported_module
from epsball.models.file_kind import file_kind, is_torchscript
from epsball.models.hugging_face import hugging_face
from epsball.models.inference_notes import by_x, inferred
from epsball.models.loaded_model import Known, LoadedModel, check_finite, refuse_more, with_weights
from epsball.models.model_text import ModelText, parse_model_text
from epsball.models.option_values import boolean, keyword_arguments, read_option
from epsball.models.torchscript import torchscript
from epsball.models.user_python import imported, public_function, reported


def load(text: str, *, shape: tuple[int, ...] | None = None, classes: int | None = None) -> LoadedModel:
    """Load a model from its text, ``NAME[@WEIGHTS][,mean=..][,std=..][,ARG=..]``.

    ============================  ======================================================
    NAME                          what it is
    ============================  ======================================================
    an architecture               one of `ARCHITECTURES`; its options are ARGs
    ``FILE.py:function``          the user's own: runs FILE.py and calls the function with
                                  the ARGs, and with `shape` and `classes` if it has them
    ``FILE.pt2``                  a program of ``torch.export.save``, a whole model
    ``FILE.onnx``                 a whole model (extra ``onnx``); ``shape=`` says in which shape
                                  its inputs come, if not in the file's: (c, h, w) for a file
                                  of (h, w, c) moves the channels, else entries keep their order;
                                  ``output=`` is ``logits`` (a final softmax is taken off),
                                  ``probabilities`` or the name of an output;
                                  ``run=onnxruntime`` runs a file of any operators, without gradients
    ``timm:NAME``                 a model of timm (extra ``timm``)
    ``torchscript:FILE``          a program of ``torch.jit.save``, a whole model, which is run; for attacks
    ``hf:FOLDER`` or ``hf:NAME``  an image classifier of Hugging Face (extra ``transformers``),
                                  with its preprocessing and labels
    ``CARD.json``                 a model that training wrote; of an architecture of the user's own
                                  ``CARD.json@FILE.py:function``, which runs FILE.py
    ============================  ======================================================

    WEIGHTS is a ``.safetensors`` file or one of ``torch.save`` that holds a state dict. Lists
    are written with colons and numbers may be fractions: ``mean=0.4914:0.4822:0.4465``,
    ``std=63/255``. ``outputs=logits``, ``deterministic=True`` and ``batch=independent`` overrule checks of
    `epsball.Classifier`. ``ignore=PREFIX`` leaves entries of WEIGHTS out. Without WEIGHTS the module
    is as it is built: architectures draw their weights from PyTorch's global generator. No
    file but the FILE.py or the TorchScript program that the text names can run code.

    Parameters
    ----------
    text
        The model.
    shape, classes
        Shape of one input and number of classes of the data, for models that are built to
        measure; ``shape=1x28x28`` and ``classes=10`` in the text go before them.

    Raises
    ------
    InputError
        If the text or a file is wrong, or the model was made for inputs of another shape.
    ModelError
        If weights do not fit or are not finite, or the model's own code fails.
    MissingExtra
        If an optional package is not installed.
    UnsupportedOperation
        If the file is of a kind, or calls an operator, that is not supported.

    Examples
    --------
    >>> loaded = load("mlp,hidden=8,mean=0.5,std=0.25", shape=(1, 4, 4), classes=3)
    >>> loaded.architecture, loaded.mean, loaded.shape
    ('mlp,hidden=8', (0.5,), (1, 4, 4))
    """
    request = parse_model_text(text)
    known: Known = {"shape": request.shape or shape, "classes": request.classes or classes}
    loaded = _loader(request.name)(request, known)
    if shape is not None and loaded.shape not in (None, shape):
        raise InputError(
            f"{loaded.name} takes inputs of shape {by_x(loaded.shape)}, the data has {by_x(shape)}. "
            "Use the data it was made for, or transform the data."
        )
    check_finite(loaded)
    return replace(loaded, checks=request.checks)


def _architecture(request: ModelText, known: Known) -> LoadedModel:
    builder = ARCHITECTURES[request.name]
    module = builder(**keyword_arguments(builder, request.name, request.options, known))
    return with_weights(module, request, known)


def _user_python(request: ModelText, known: Known) -> LoadedModel:
    file, _, function_name = request.name.rpartition(":")
    path = Path(file).expanduser()
    with imported(path) as python:
        function = public_function(python, function_name)
        arguments = keyword_arguments(function, request.name, request.options, known)
        with reported(path.resolve()):
            module = function(**arguments)
    if not isinstance(module, nn.Module):
        raise ModelError(f"{request.name} returned a {type(module).__name__}; it must return a torch.nn.Module.")
    if any(map(is_lazy, (*module.parameters(), *module.buffers()))):
        raise ModelError(f"{request.name} returned a module with lazy layers; run it once on an input before.")
    return with_weights(module, request, known)


def _timm(request: ModelText, known: Known) -> LoadedModel:
    pretrained = read_option("pretrained", request.options.get("pretrained", "false"), boolean, "true")
    if pretrained and request.weights is not None:
        raise InputError(f"pretrained=true and @{request.weights} both name weights; give one of them.")
    # A name with a tag is one of timm's own weights, wherever the file comes from. Numbers taken from the data
    # would replace the first and last layer of a trained model.
    name = request.name.removeprefix("timm:")
    as_trained = pretrained or (request.weights is not None and "." in name)
    own: Known = {"shape": request.shape, "classes": request.classes} if as_trained else known
    module = timm_models.timm_module(name, request.options, own)
    loaded = with_weights(module, request, own)
    if as_trained:
        return timm_models.as_recorded(module, loaded, known)
    return timm_models.recorded_hint(module, loaded) if request.weights is not None else loaded


def _exported(request: ModelText, known: Known) -> LoadedModel:
    refuse_more(request, "a .pt2 file is a whole model", ("mean", "std", "shape", "classes"))
    path = Path(request.name).expanduser()
    module = exported_module(path)
    fixed = tuple(length for length in module.shape if length is not None)
    return LoadedModel(
        module=module,
        mean=request.mean,
        std=request.std,
        shape=fixed if len(fixed) == len(module.shape) else known["shape"],
        classes=module.classes,
        text=request.text,
        name=request.name,
        architecture=request.architecture,
        weights=path,
    )


def _onnx(request: ModelText, known: Known) -> LoadedModel:
    own = {key: text for key, text in request.options.items() if key in ("output", "run")}
    others = {key: text for key, text in request.options.items() if key not in own}
    allowed = ("mean", "std", "shape", "output", "run")
    refuse_more(replace(request, options=others), "an .onnx file is a whole model", allowed)
    path = Path(request.name).expanduser()
    file_kind(path)
    run = own.get("run", "graph")
    if run not in ("graph", "onnxruntime"):
        raise InputError(f"run={run} is not a way to run {path}; write run=graph (the default) or run=onnxruntime.")
    if run == "graph":
        source = read_onnx(path, shape=request.shape, data_shape=known["shape"], output=own.get("output"))
        module, shape = GraphModule(source), source.input.shape
    else:
        module = source = runtime_module(path, shape=request.shape, data_shape=known["shape"], output=own.get("output"))
        shape = source.shape
    return LoadedModel(
        module=module,
        mean=request.mean,
        std=request.std,
        shape=shape,
        classes=source.classes,
        text=request.text,
        name=request.name,
        architecture=request.architecture,
        weights=path,
        notes=source.notes,
    )


def _card(request: ModelText, known: Known) -> LoadedModel:
    refuse_more(request, "a card says all about its model", ())
    file, _, factory = request.name.partition(".json@")
    path = Path(f"{file}.json" if factory else file).expanduser()
    card = read_card(path)
    described = parse_model_text(card.architecture)
    weights = path.parent / card.weights
    plain = described.name in ARCHITECTURES or described.name.startswith("timm:")
    if described.architecture != card.architecture or not (plain or factory):
        named = described.name if _OWN(described.name) else "FILE.py:function"
        raise InputError(
            f"{path} names the architecture {card.architecture!r}. Opening a card runs no code: it may name "
            f"only {', '.join(ARCHITECTURES)} and timm:NAME, with their own options. If you trust the code, name "
            f"your own function yourself: {path}@{named} (or {named}@{weights},mean=..,std=..)"
        )
    own = {key: text for key, text in described.options.items() if key != "pretrained"}
    carded: dict[str, Any] = {key: getattr(card, key) for key in ("mean", "std", "shape", "classes")}
    said = replace(described, text=request.text, weights=weights, options=own, **carded)
    if factory:
        said = replace(said, name=_same_function(factory, described.name, path))
    loaded = _loader(said.name)(said, {"shape": card.shape, "classes": card.classes})
    return replace(loaded, **carded, card=card, notes=(inferred(path.name, carded),))


def _same_function(factory: str, described: str, path: Path) -> str:
    """Return the factory that the user names, having checked that it bears the name in the card."""
    function = described.rpartition(":")[2]
    if not _OWN(described):
        raise InputError(
            f"{path} names the architecture {described!r}, which needs no Python file: leave out @{factory}."
        )
    if factory.rpartition(":")[2] != function:
        raise InputError(f"{path} was written for the function '{function}'; @{factory} names another one.")
    return factory


_OWN = re.compile(r".+\.py:\w+").fullmatch
_KINDS: tuple[tuple[Callable[[str], object], Callable[[ModelText, Known], LoadedModel]], ...] = (
    (ARCHITECTURES.__contains__, _architecture),
    (re.compile(r".+\.json@.+\.py:\w+").fullmatch, _card),
    (_OWN, _user_python),
    (re.compile(r".+\.pt2").fullmatch, _exported),
    (re.compile(r".+\.onnx").fullmatch, _onnx),
    (re.compile(r"timm:.+").fullmatch, _timm),
    (re.compile(r"hf:.+").fullmatch, hugging_face),
    (re.compile(r"torchscript:.+").fullmatch, torchscript),
    (re.compile(r".+\.json").fullmatch, _card),
)

FORMS: dict[str, str] = {
    "FILE.py:function": "What a function of your own returns: FILE.py is run, and the function called.",
    "FILE.pt2": "A whole model, written by torch.export.save.",
    "FILE.onnx": "A whole model; with run=onnxruntime one of any operators, without gradients.",
    "timm:NAME": "A model of timm, with its preprocessing.",
    "hf:NAME": "An image classifier of Hugging Face, or a folder of one, with its preprocessing and labels.",
    "torchscript:FILE": "A program of torch.jit.save, which is run; for attacks.",
    "CARD.json": "A model that training wrote.",
    "CARD.json@FILE.py:function": "A model that training wrote, of an architecture of your own; FILE.py is run.",
}
"""How models that are not one of `ARCHITECTURES` are written."""


def _loader(name: str) -> Callable[[ModelText, Known], LoadedModel]:
    for is_kind, loader in _KINDS:
        if is_kind(name):
            return loader
    if name.endswith(".py"):
        raise InputError(f"{name} is a Python file; name the function in it that builds the model, {name}:function.")
    if is_torchscript(Path(name).expanduser()):
        raise InputError(
            f"{name} is a TorchScript archive, a program that may call any operator of PyTorch, those that write files "
            f"included. If you trust it, run it for attacks: torchscript:{name}; for certificates save the Python "
            "module by torch.export.save (FILE.pt2) or torch.onnx.export (FILE.onnx)."
        )
    if Path(name).suffix:
        raise InputError(
            f"{name!r} does not name a model; a file of weights follows its architecture, NAME@{name}. "
            f"Whole models are FILE.pt2, FILE.onnx and CARD.json; architectures are {', '.join(ARCHITECTURES)}."
        )
    raise InputError(
        f"there is no architecture '{name}'.{nearest(name, ARCHITECTURES)} "
        f"There are {', '.join(ARCHITECTURES)}; or write {', '.join(FORMS)}."
    )
