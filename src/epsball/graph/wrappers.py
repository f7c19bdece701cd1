"""Wrappers that change how a module runs, not what it computes: seen through while it is captured."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


def bare(module: nn.Module) -> nn.Module:
    """Return what `DataParallel`, `DistributedDataParallel` and `torch.compile` wrap, or the module itself."""
    while True:
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            module = module.module
        elif type(module).__name__ == "OptimizedModule" and isinstance(getattr(module, "_orig_mod", None), nn.Module):
            module = module._orig_mod  # pyright: ignore[reportAssignmentType]
        else:
            return module


@contextmanager
def unwrapped(module: nn.Module) -> Iterator[nn.Module]:
    """Yield a module without wrappers, also around its parts; afterwards they are where they were."""
    root = bare(module)
    parts = list(root.modules())
    wrapped = [
        (part, name, child) for part in parts for name, child in part.named_children() if bare(child) is not child
    ]
    compiled = [(part, call) for part in parts if (call := getattr(part, "_compiled_call_impl", None)) is not None]
    try:
        for part, name, child in wrapped:
            part._modules[name] = bare(child)
        for part, _ in compiled:
            part._compiled_call_impl = None
        yield root
    finally:
        for part, name, child in wrapped:
            part._modules[name] = child
        for part, call in compiled:
            part._compiled_call_impl = call
