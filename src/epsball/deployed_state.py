"""The state on which a module's outputs may depend, as it was at one moment: compared and restored cheaply."""

import sys
from collections import UserDict, UserList, deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from operator import is_
from types import MethodType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor

from epsball.errors import ModelError

_FOREIGN = {"torch", "numpy", "epsball", *sys.stdlib_module_names}
"""Packages whose objects are not looked into, modules and containers apart."""

_UNSEEN = ("_hooks", "_hooks_with_kwargs", "_hooks_always_called", "_non_persistent_buffers_set")
"""How the names of a module's registers of hooks end: hooks belong to whoever registered them."""

_REGISTERS = ("_parameters", "_buffers", "_modules")

_DEPTH = 3
"""How many plain objects may lie inside each other: a model may know a whole program that trains it."""


class DeployedState:
    """Parameters, buffers and attributes of a module as they are now, to which it can be put back.

    Seen are tensors, arrays, numbers and texts in the attributes of the module and of its parts, also
    inside lists, dictionaries, sets, tuples and plain objects; not seen are hooks, generators of random
    numbers, global variables and closures. Tensors are recognised by identity and version first. Buffers
    and other tensors are copied once. Parameters are copied until the first pass shows which of them
    move; the copies of the others are dropped, and a later change is an error.

    Parameters
    ----------
    module
        The module.
    parameters
        Names of the parameters that a first pass is known to change; None: that is not known yet.

    Attributes
    ----------
    moves
        Names of what passes have changed so far.

    Examples
    --------
    >>> layer = nn.BatchNorm1d(2)
    >>> state = DeployedState(layer)
    >>> _ = layer(torch.tensor([[0.0, 1.0], [2.0, 3.0]]))
    >>> state.restore()
    >>> layer.running_mean, sorted(state.moves)
    (tensor([0., 0.]), ['num_batches_tracked', 'running_mean', 'running_var'])
    """

    def __init__(self, module: nn.Module, parameters: frozenset[str] | None = None) -> None:
        self.moves: dict[str, None] = {}
        self._parameters = parameters
        self._containers: list[_Container] = []
        self._tensors: list[_HeldTensor] = []
        self._known: dict[int, object] = {}
        self._probed = False
        self._see("", module)

    @property
    def moving_parameters(self) -> frozenset[str] | None:
        """Names of the parameters that passes change; None before the first pass."""
        if not self._probed:
            return self._parameters
        return frozenset(held.name for held in self._tensors if held.is_parameter and held.name in self.moves)

    def before_pass(self) -> None:
        """Restore the state if passes are known to change it."""
        if self.moves:
            self.restore()

    def after_pass(self) -> None:
        """Find out, after the first pass, what passes change."""
        if self._probed:
            return
        self._probed = True
        for container in self._containers:
            self.moves |= dict.fromkeys(container.changed())
        for held in self._tensors:
            if held.changed(thorough=True):
                self.moves[held.name] = None
            elif held.is_parameter:
                held.copy = None

    def restore(self) -> None:
        """Put everything back.

        Raises
        ------
        ModelError
            If something that changed cannot be put back, naming it.
        """
        for container in self._containers:
            changed = container.changed()
            if changed:
                self.moves |= dict.fromkeys(changed)
                container.restore()
        for held in self._tensors:
            if held.changed(thorough=not self._probed or not held.is_parameter or held.name in self.moves):
                self.moves[held.name] = None
                held.restore()

    def _see(self, name: str, value: object, depth: int = 0) -> None:
        """Hold what a value is made of."""
        if isinstance(value, MethodType):
            value = value.__self__
        if isinstance(value, partial):
            value = (value.func, value.args, value.keywords)
        if id(value) in self._known:
            return
        if isinstance(value, torch.jit.ScriptModule):
            self._see_scripted(name, value)
        elif isinstance(value, Tensor | np.ndarray):
            self._hold(name, value)
        elif isinstance(value, dict | list | set | deque):
            self._contain(name, value, depth)
        elif isinstance(value, tuple):
            self._known[id(value)] = value
            for key, item in enumerate(value):
                self._see(f"{name}[{key}]", item, depth)
        elif isinstance(value, nn.Module) or (depth < _DEPTH and _is_plain(value)):
            self._known[id(value)] = value
            self._contain(name, vars(value), depth if isinstance(value, nn.Module) else depth + 1, attributes=True)

    def _contain(self, name: str, value: Any, depth: int, *, attributes: bool = False) -> None:
        self._known[id(value)] = value
        container = _Container.of(name, value, attributes=attributes)
        self._containers.append(container)
        for key, item in container.items():
            self._see(key, item, depth)

    def _hold(self, name: str, value: Tensor | np.ndarray) -> None:
        self._known[id(value)] = value
        copied = self._parameters is None or name in self._parameters or not isinstance(value, nn.Parameter)
        held = _HeldTensor.of(name, value, copied=copied)
        if held is not None:
            self._tensors.append(held)

    def _see_scripted(self, name: str, module: torch.jit.ScriptModule) -> None:
        """Hold the tensors of a TorchScript module, which keeps them outside Python."""
        self._known[id(module)] = module
        for key, tensor in (*module.named_parameters(), *module.named_buffers()):
            self._hold(f"{name}.{key}" if name else key, tensor)


def _is_plain(value: object) -> bool:
    """Return whether a value is an instance of a class of the model's own code, with attributes."""
    if isinstance(value, SimpleNamespace | UserDict | UserList):
        return True
    package = type(value).__module__.partition(".")[0]
    own = package == "__main__" or package not in _FOREIGN
    return own and not isinstance(value, type) and hasattr(value, "__dict__")


@dataclass(frozen=True, eq=False)
class _Container:
    """A dictionary, list, set or queue, and what it held.

    `attributes` says that it is the dictionary of an object's attributes.
    """

    name: str
    value: Any
    held: Any
    attributes: bool

    @classmethod
    def of(cls, name: str, value: Any, *, attributes: bool) -> "_Container":
        """Return a container with a copy of what it holds."""
        return cls(name, value, dict(value) if isinstance(value, dict) else list(value), attributes)

    def items(self) -> Iterator[tuple[str, object]]:
        """Yield what it held, with names."""
        pairs = self.held.items() if isinstance(self.held, dict) else enumerate(self.held)
        for key, item in pairs:
            if not (self.attributes and isinstance(key, str) and key.endswith(_UNSEEN)):
                yield self._name_of(key), item

    def _name_of(self, key: object) -> str:
        if not self.attributes:
            last = self.name.rpartition(".")[2]
            if last in _REGISTERS:
                parent = self.name.rpartition(".")[0]
                return f"{parent}.{key}" if parent else str(key)
            return f"{self.name}[{key!r}]"
        return f"{self.name}.{key}" if self.name else str(key)

    def changed(self) -> list[str]:
        """Return the names of what is not as it was."""
        now, held = self.value, self.held
        if isinstance(held, dict):
            if now.keys() == held.keys() and all(map(is_, now.values(), held.values())):
                return []
            keys = [*held, *(key for key in now if key not in held)]
            changed = [key for key in keys if not (key in now and key in held and _equal(now[key], held[key]))]
            return [self._name_of(key) for key in changed]
        if len(now) == len(held) and (now == set(held) if isinstance(now, set) else all(map(is_, now, held))):
            return []
        same = len(now) == len(held) and not isinstance(now, set) and all(map(_equal, now, held))
        return [] if same else [self.name]

    def restore(self) -> None:
        """Put it back."""
        now = self.value
        now.clear()
        if isinstance(now, dict | set):
            now.update(self.held)
        else:
            now.extend(self.held)


def _equal(a: object, b: object) -> bool:
    """Return whether two values are one object or equal numbers or texts."""
    if a is b:
        return True
    return type(a) is type(b) and isinstance(a, int | float | complex | str | bytes | torch.Size) and a == b


@dataclass(eq=False)
class _HeldTensor:
    """A tensor, its memory, and what it held.

    Parameters
    ----------
    name, tensor
        The tensor, or one that shares the memory of an array.
    memory
        The tensor's own memory, under another object: what assignments to `.data` replace.
    version
        How often the tensor had been written to; None where that is not counted.
    copy
        What it held; None where no copy is kept.
    """

    name: str
    tensor: Tensor
    memory: Tensor
    version: int | None
    copy: Tensor | None

    @classmethod
    def of(cls, name: str, value: Tensor | np.ndarray, *, copied: bool) -> "_HeldTensor | None":
        """Return a tensor, with a copy of its values if asked for; None for what has none, or cannot be written to."""
        tensor = value if isinstance(value, Tensor) else _as_tensor(value)
        if tensor is None or tensor.is_meta or tensor.is_nested or isinstance(tensor, FakeTensor):
            return None
        memory = tensor.detach()
        return cls(name, tensor, memory, _version(tensor), memory.clone() if copied else None)

    @property
    def is_parameter(self) -> bool:
        """Whether it is a parameter."""
        return isinstance(self.tensor, nn.Parameter)

    def changed(self, *, thorough: bool) -> bool:
        """Return whether the tensor is not as it was; writes that count no version are seen if `thorough`."""
        moved = self._replaced() or _version(self.tensor) != self.version
        if self.copy is None:
            return moved
        if not moved and not thorough:
            return False
        if self._replaced() or not _same(self.tensor.detach(), self.copy):
            return True
        self.version = _version(self.tensor)
        return False

    def _replaced(self) -> bool:
        """Return whether the tensor's memory is another one."""
        now, memory = self.tensor, self.memory
        if now.shape != memory.shape or now.layout != memory.layout:
            return True
        return now.layout == torch.strided and now.data_ptr() != memory.data_ptr()

    def restore(self) -> None:
        """Put it back."""
        written = self.copy is None and _version(self.tensor) != self.version and not self._replaced()
        if written:
            raise ModelError(
                f"the model changes its parameter '{self.name}' in evaluation mode, but not in its first pass: what it "
                "was cannot be restored, and verdicts would be about another model. Leave parameters alone in forward."
            )
        try:
            if self._replaced():
                self.tensor.data = self.memory
            if self.copy is not None and not _same(self.tensor.detach(), self.copy):
                self.tensor.detach().copy_(self.copy)
        except RuntimeError as error:
            raise ModelError(
                f"the model changes its state '{self.name}' in evaluation mode, and it cannot be restored ({error}): "
                "verdicts would be about another model. Leave that state alone in forward."
            ) from error
        self.version = _version(self.tensor)


def _as_tensor(array: np.ndarray) -> Tensor | None:
    """Return a tensor that shares an array's memory; None for what cannot be written to or holds no numbers."""
    try:
        return torch.from_numpy(array) if array.flags.writeable else None
    except (TypeError, ValueError):
        return None


def _version(tensor: Tensor) -> int | None:
    return None if tensor.is_inference() else tensor._version


def _same(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors hold the same values, NaN counting as equal to itself."""
    if a.shape != b.shape:
        return False
    if a.layout != torch.strided:
        a, b = a.to_dense(), b.to_dense()
    return torch.equal(a, b) or bool(((a == b) | ((a != a) & (b != b))).all())
