"""The layers of a network, named after its modules in execution order, and how to choose among them."""

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor

from epsball.errors import InputError, ModelError, nearest


@dataclass(frozen=True, order=True)
class Output:
    """One tensor that a module returned on one of its calls.

    Parameters
    ----------
    module
        Name in the module tree; empty for the network itself.
    call
        Number of the module's call, from 1, for modules that are used several times.
    path
        Keys leading to the tensor in a dictionary, tuple or dataclass.
    """

    module: str
    call: int
    path: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """An output with one feature vector per row of the input.

    Parameters
    ----------
    name
        ``module``, with ``:call`` if the module is called several times, and with ``/key`` if it
        returns several tensors; ``output`` for the network itself.
    output
        The output that is recorded.
    axis, fold, interleaved
        The rows lie along `axis`, each as `fold` entries: consecutive, or `interleaved` with
        those of the other rows.
    passes_on
        Whether the module returned its own input unchanged (identities, flattening, dropout).
    repeats
        Whether it did that, or returned what the layer before it had returned (containers).
    """

    name: str
    output: Output
    axis: int
    fold: int
    interleaved: bool
    passes_on: bool
    repeats: bool

    def features(self, value: Shaped[Tensor, "*shape"], rows: int) -> Shaped[Tensor, "n *rest"]:
        """Return the recorded tensor with the rows first.

        Raises
        ------
        ModelError
            If the tensor does not have `fold` entries per row along `axis`.
        """
        if self.axis >= value.ndim or value.shape[self.axis] != self.fold * rows:
            raise ModelError(
                f"layer '{self.name}' returned the shape {tuple(value.shape)} for {rows} rows; expected "
                f"{self.fold * rows} entries along axis {self.axis}. Leave this layer out (layers=)."
            )
        value = torch.view_as_real(value) if value.is_complex() else value
        if self.interleaved:
            return value.unflatten(self.axis, (self.fold, rows)).movedim(self.axis + 1, 0)
        return value.unflatten(self.axis, (rows, self.fold)).movedim(self.axis, 0)


Choice = str | Sequence[str]


def select_layers(layers: Sequence[Layer], choice: Choice, modules: Sequence[str], model: str) -> list[Layer]:
    """Return the layers of a choice, in execution order.

    Parameters
    ----------
    layers
        All layers of the network.
    choice
        ``"all"``: every output that differs from the one before it. ``"stages"``: the outermost
        modules that run (the stem, stages and head of a residual network). Otherwise one pattern
        of whole names or several, with ``*`` and ``?``; a name without its ``:call`` and ``/key``
        means all of them.
    modules
        Names of all modules of the network, for messages.
    model
        Name of the model in messages.

    Raises
    ------
    InputError
        If the choice is none of these, a pattern names no layer, or the network has none.
    """
    if not layers:
        raise InputError(
            f"no layer of {model} returns a floating-point feature vector per row, so it has no representation to "
            "compare. Return the features before they are rounded, converted to integers or summed over the rows."
        )
    if choice == "all":
        return [layer for layer in layers if not layer.repeats] or list(layers[-1:])
    if choice == "stages":
        return _stages(layers)
    patterns = _patterns(choice)
    for pattern in patterns:
        if not any(_matches(layer, pattern) for layer in layers):
            raise InputError(_explain(pattern, layers, modules, model))
    return [layer for layer in layers if any(_matches(layer, pattern) for pattern in patterns)]


def _patterns(choice: Choice) -> list[str]:
    patterns = [choice] if isinstance(choice, str) else choice
    if not isinstance(patterns, Sequence) or not patterns or not all(isinstance(p, str) for p in patterns):
        raise InputError(f"layers is {choice!r}; give 'all', 'stages', a pattern of names or a list of patterns.")
    return list(patterns)


def _matches(layer: Layer, pattern: str) -> bool:
    names = (layer.name, layer.output.module)
    return pattern in names or any(fnmatch.fnmatchcase(name, pattern) for name in names)


def _explain(pattern: str, layers: Sequence[Layer], modules: Sequence[str], model: str) -> str:
    if any(fnmatch.fnmatchcase(name, pattern) for name in modules if name):
        return (
            f"layer '{pattern}' never runs in {model}, or returns no feature vector per row; "
            "choose layers that do (epsball.similarity.layer_names lists them)."
        )
    names = [name for layer in layers for name in dict.fromkeys((layer.name, layer.output.module))]
    return f"no layer of {model} is called '{pattern}'.{nearest(pattern, names)} Its layers: {_few(names)}."


def _few(names: Sequence[str]) -> str:
    listed = [name for name in dict.fromkeys(names) if name]
    return ", ".join(listed[:8]) + (f", ... ({len(listed)} names)" if len(listed) > 8 else "")


def _stages(layers: Sequence[Layer]) -> list[Layer]:
    """Return the layers whose modules are inside no other module that ran, except the network itself.

    If that leaves a single module and others ran inside it, it counts as a wrapper and is skipped.
    """
    candidates = [layer for layer in layers if layer.output.module and not layer.passes_on]
    ran = {layer.output.module for layer in layers if layer.output.module}
    while True:
        outermost = {name for name in ran if not any(name.startswith(f"{other}.") for other in ran)}
        if len(outermost) != 1 or len(ran) == 1:
            break
        ran -= outermost
    last = [layer for layer in layers if not layer.output.module and not layer.repeats]
    return [layer for layer in candidates if layer.output.module in outermost] + last or list(layers[-1:])
