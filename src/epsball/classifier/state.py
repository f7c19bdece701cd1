"""Using a module without leaving a trace on it."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from epsball.generators import preserved


@contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Switch `module` to evaluation with frozen parameters; put everything back afterwards.

    Every submodule's mode, every parameter's ``requires_grad``, the values of all buffers and
    the global generators are restored, also after an exception. The flags are set directly:
    calling ``eval`` may run code of the caller's, and exported programs refuse it.
    """
    modes = [(part, part.training) for part in module.modules()]
    gradients = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    buffers = [
        (part, name, buffer, _copy(buffer)) for part in module.modules() for name, buffer in part._buffers.items()
    ]
    with preserved():
        try:
            for part, _ in modes:
                part.training = False
            for parameter, _ in gradients:
                parameter.requires_grad_(False)
            yield
        finally:
            for part, mode in modes:
                part.training = mode
            for parameter, needed in gradients:
                parameter.requires_grad_(needed)
            for part, name, buffer, value in buffers:
                _restore(part, name, buffer, value)


def _copy(buffer: Tensor | None) -> Tensor | None:
    return None if buffer is None else buffer.detach().clone()


def _restore(part: nn.Module, name: str, buffer: Tensor | None, value: Tensor | None) -> None:
    part._buffers[name] = buffer
    if buffer is not None and value is not None and not _same(buffer, value):
        buffer.detach().copy_(value)


def _same(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors hold the same values, NaN counting as equal to itself."""
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())
