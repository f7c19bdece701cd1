"""Putting the weights of a file into a module: exactly, or not at all."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from epsball.errors import ModelError
from epsball.models.checkpoint import read_checkpoint
from epsball.models.wrapped_names import bare_names

_COUNTER = "num_batches_tracked"
_NAMED = 4  # names printed of a long list
_DEPTH = 4  # how deep in a checkpoint a state dict is looked for


def load_weights(module: nn.Module, path: Path, name: str, ignore: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Copy the weights in a file into `module`; return what was taken differently from how it stands there.

    The file holds a state dict, or a mapping or list in which one lies (``state_dict``,
    ``model``, ``net``, ...). It is taken only if exactly one in the file has the module's
    names and shapes, no more and no fewer. Three differences are accepted: the names' parts
    ``module``, ``_orig_mod`` and ``model`` are the trace of a wrapper (DataParallel,
    ``torch.compile``, a training loop) where nothing stands beside them, and are looked through
    on both sides; a missing ``num_batches_tracked`` (files older than PyTorch 0.4.1) keeps the
    module's, which no output depends on; entries named by `ignore` are left out.

    Parameters
    ----------
    module
        The module; unchanged if an error is raised.
    path
        See `epsball.models.checkpoint.read_checkpoint`.
    name
        What the user called the model, for messages.
    ignore
        Entries the module has no use for, by name or by the part before a dot. Each must
        be in the file.

    Raises
    ------
    InputError
        If the file cannot be read.
    ModelError
        If no state dict fits or several do, if a value is not finite, or if a value would be
        rounded to the module's dtype.
    """
    own = {key: value for key, value in module.state_dict().items() if isinstance(value, Tensor)}
    wholes = dict(_state_dicts(read_checkpoint(path)))
    found = {place: _nearest(own, ignore, whole) for place, whole in wholes.items()}
    if not found:
        raise ModelError(f"{path} does not hold a state dict (names with tensors). Save model.state_dict().")
    gaps = {place: _compare(own, state) for place, state in found.items()}
    fitting = [place for place, gap in gaps.items() if gap.size == 0]
    if not fitting:
        raise ModelError(f"{path} does not fit {name}: {min(gaps.values(), key=lambda gap: gap.size).describe()}")
    if len(fitting) > 1:
        raise ModelError(
            f"{path} holds {len(fitting)} state dicts that fit {name}: {', '.join(fitting)}. "
            "Save the one you mean as a file of its own."
        )
    state = found[fitting[0]]
    for key, tensor in state.items():
        _check_values(f"{key} in {path}", tensor, own[key])
    module.load_state_dict(state, strict=False)
    return _renaming_note(path, wholes[fitting[0]], state)


@dataclass(frozen=True, kw_only=True)
class Gap:
    """How a state dict differs from a module's: names, and names with both shapes."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    shapes: tuple[str, ...]

    @property
    def size(self) -> int:
        """Number of differences."""
        return len(self.missing) + len(self.unexpected) + len(self.shapes)

    def describe(self) -> str:
        """Return the differences, a few of each kind by name, and the fix."""
        kinds = {"missing": self.missing, "unexpected": self.unexpected, "of another shape": self.shapes}
        seen = "; ".join(f"{len(names)} {kind} ({_few(names)})" for kind, names in kinds.items() if names)
        if self.missing or self.shapes:
            return f"{seen}. Check the architecture, its options, shape= and classes=."
        entries = ":".join(dict.fromkeys(key.split(".")[0] for key in self.unexpected))
        return f"{seen}. If the model has no use for them, leave them out with ignore={entries}."


def _state_dicts(value: object, place: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield every mapping of names to tensors in a checkpoint with its place, outer ones first."""
    if isinstance(value, Mapping):
        if value and all(isinstance(key, str) and isinstance(item, Tensor) for key, item in value.items()):
            yield place or "the whole file", dict(value)
        inner: Iterable[tuple[object, object]] = value.items()
    elif isinstance(value, list | tuple):
        inner = enumerate(value)
    else:
        return
    if depth < _DEPTH:
        for key, item in inner:
            yield from _state_dicts(item, f"{place}/{key}", depth + 1)


def _nearest(own: Mapping[str, Tensor], ignore: tuple[str, ...], state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict as it stands or with wrappers looked through, whichever is nearer to the module's."""
    whole = _without(ignore, state)
    readings = (whole, _unwrapped(own, whole), _without(ignore, _unwrapped(own, state)))
    return min(readings, key=lambda reading: _compare(own, reading).size)


def _unwrapped(own: Mapping[str, Tensor], state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return `state` under the module's names, as far as names agree once wrappers are looked through."""
    wanted = {bare: name for name, bare in bare_names(own).items()}
    return {wanted.get(bare, bare): state[name] for name, bare in bare_names(state).items()}


def _renaming_note(path: Path, whole: dict[str, Tensor], state: dict[str, Tensor]) -> tuple[str, ...]:
    """Say how names were read, by the first that differs."""
    names = {id(tensor): name for name, tensor in whole.items()}
    for name, tensor in state.items():
        if name not in whole:
            return (f"{path.name} holds the weights of a wrapped module: {names[id(tensor)]} was read as {name}.",)
    return ()


def _without(ignore: tuple[str, ...], state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave out ignored entries; `state` stays whole if an entry to ignore is not in it."""
    kept = {key: tensor for key, tensor in state.items() if not any(_under(entry, key) for entry in ignore)}
    met = all(any(_under(entry, key) for key in state) for entry in ignore)
    return kept if met else state


def _under(entry: str, key: str) -> bool:
    return key == entry or key.startswith(f"{entry}.")


def _compare(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Gap:
    return Gap(
        missing=tuple(key for key in own if key not in state and not key.endswith(_COUNTER)),
        unexpected=tuple(key for key in state if key not in own),
        shapes=tuple(
            f"{key}: file {_shape(tensor)}, model {_shape(own[key])}"
            for key, tensor in state.items()
            if key in own and tensor.shape != own[key].shape
        ),
    )


def _check_values(what: str, tensor: Tensor, built: Tensor) -> None:
    """Refuse values that are not plain numbers, not finite, or rounded on the way into the module.

    An infinity that the module was built with (an attention mask) is not damage.
    """
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        raise ModelError(f"{what} is not a plain tensor (sparse, quantised or without values). Save it as one.")
    widens = tensor.is_floating_point() and torch.promote_types(tensor.dtype, built.dtype) == built.dtype
    if tensor.dtype != built.dtype and not widens:
        raise ModelError(
            f"{what} is {tensor.dtype} and the model's {built.dtype}: it would be rounded. Convert the file, "
            "or build the model in that dtype (FILE.py:function)."
        )
    damaged = ~(torch.isfinite(tensor) | (tensor == built.cpu())) if tensor.is_floating_point() else torch.zeros(())
    if damaged.any():
        raise ModelError(
            f"{what} has {int(damaged.sum())} of {tensor.numel()} values that are NaN or infinite. "
            "Training diverged or the file is damaged: take an earlier checkpoint."
        )


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
