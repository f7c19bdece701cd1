"""Using a module and restoring its state."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from epsball.generator_state import preserved


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Run a module in evaluation mode inside the block; every submodule's mode is restored.

    The flags are set directly: ``eval`` may run the caller's code, and exported programs refuse it.
    Frozen TorchScript modules have no mode to set.
    """
    modes = [(part, part.training) for part in module.modules() if hasattr(part, "training")]
    try:
        for part, _ in modes:
            part.training = False
        yield
    finally:
        for part, mode in modes:
            part.training = mode


@contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Switch `module` to evaluation mode with frozen parameters; restore everything afterwards.

    Every submodule's mode, every parameter's ``requires_grad``, the set of buffers and their values,
    and the global generators are restored, also after an exception. State that a module keeps outside
    its parameters and buffers is not seen, and two threads must not enter the block for one module at
    once.
    """
    gradients = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    buffers = [(part, _buffers(part)) for part in module.modules()]
    values = {
        id(tensor): tensor.detach().clone() for _, held in buffers for tensor in held.values() if tensor is not None
    }
    with preserved(), evaluating(module):
        try:
            for parameter, _ in gradients:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter, needed in gradients:
                parameter.requires_grad_(needed)
            for part, held in buffers:
                _restore(part, held, values)


def _buffers(part: nn.Module) -> dict[str, Tensor | None]:
    """Return a module's own buffers; TorchScript does not keep them in a dictionary."""
    return dict(part._buffers) if isinstance(part._buffers, dict) else dict(part.named_buffers(recurse=False))


def _restore(part: nn.Module, held: dict[str, Tensor | None], values: dict[int, Tensor]) -> None:
    """Restore a module's set of buffers and their values."""
    if isinstance(part._buffers, dict):
        part._buffers.clear()
        part._buffers.update(held)
    for buffer in held.values():
        if buffer is not None and not _same(buffer, values[id(buffer)]):
            buffer.detach().copy_(values[id(buffer)])


def _same(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors hold the same values, NaN counting as equal to itself."""
    if a.shape != b.shape:
        return False
    if a.layout != torch.strided:
        a, b = a.to_dense(), b.to_dense()
    return bool(((a == b) | ((a != a) & (b != b))).all())
