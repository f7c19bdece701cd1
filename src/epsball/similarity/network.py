"""A network as the comparison sees it: a module tree to watch, and a way to run it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from epsball.errors import ModelError
from epsball.state import untouched

Hook = Callable[[nn.Module, Any, Any], None]


@dataclass(frozen=True)
class Network:
    """The module tree that is watched and the callable that runs it."""

    root: nn.Module
    run: Callable[[Tensor], object]

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Evaluate without gradients inside the block and leave no trace after it."""
        with untouched(self.root), torch.no_grad():
            yield

    def adopt(self, x: Tensor) -> Tensor:
        """Return `x` on the device of the network's first tensor, floats in its floating dtype."""
        held = [*self.root.parameters(), *self.root.buffers()]
        device = held[0].device if held else x.device
        if not x.is_floating_point():
            return x.to(device)
        return x.to(device, next((t.dtype for t in held if t.is_floating_point()), x.dtype))


def network(model: object) -> Network:
    """Return the module tree and the callable of a model.

    A module runs itself; compiled and data-parallel wrappers are taken off, since they hide or
    split what runs. Anything else must be callable and hold its module as `.module` (a
    `Classifier` does: its normalisation runs, and is no layer).

    Raises
    ------
    ModelError
        If the model is neither, or a scripted graph, whose modules do not run one by one.
    """
    if isinstance(model, nn.Module):
        root = _unwrapped(model)
        found = Network(root, root)
    else:
        inner = getattr(model, "module", None)
        if not (callable(model) and isinstance(inner, nn.Module)):
            raise ModelError(
                f"the model is a {type(model).__name__}; give a torch.nn.Module, or a callable "
                "that holds one as `.module` (an epsball Classifier)."
            )
        found = Network(inner, model)
    if isinstance(found.root, torch.jit.ScriptModule):
        raise ModelError("the model is a scripted graph, whose layers cannot be watched. Pass the Python module.")
    return found


def _unwrapped(module: nn.Module) -> nn.Module:
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return _unwrapped(module.module)
    original = getattr(module, "_orig_mod", None)
    return _unwrapped(original) if isinstance(original, nn.Module) else module


@contextmanager
def hooked(before: Mapping[nn.Module, Any], after: Mapping[nn.Module, Hook]) -> Iterator[None]:
    """Call ``before[m](m, args, kwargs)`` and ``after[m](m, args, output)`` round every run of a module m."""
    with ExitStack() as stack:
        for module, hook in before.items():
            stack.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)
        for module, hook in after.items():
            stack.callback(module.register_forward_hook(hook).remove)
        yield
