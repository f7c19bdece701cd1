"""Using a module without leaving a trace on it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from epsball.generator_state import preserved


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Run a module in evaluation mode inside the block; every submodule's mode comes back.

    The flags are set directly: calling ``eval`` may run code of the caller's, and exported
    programs refuse it. Frozen TorchScript modules have no mode to set.
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
    """Switch `module` to evaluation with frozen parameters; put everything back afterwards.

    Every submodule's mode, every parameter's ``requires_grad``, which buffers there are and what
    they hold, and the global generators are restored, also after an exception. What a module
    keeps outside its parameters and buffers cannot be seen, and the block is not meant to be
    entered for one module from two threads at once.
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
    """Return a module's own buffers; those of TorchScript lie in no dictionary."""
    return dict(part._buffers) if isinstance(part._buffers, dict) else dict(part.named_buffers(recurse=False))


def _restore(part: nn.Module, held: dict[str, Tensor | None], values: dict[int, Tensor]) -> None:
    """Give a module its buffers back, those and no others, with the values they had."""
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
