"""`Shadows`: the differentiable stand-ins of tensors that carry no gradient."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from epsball.attacks.adaptive.bpda import Grafted
from epsball.attacks.adaptive.operations import tensors
from epsball.attacks.adaptive.surrogates.call import Shadow

_TOLERANCE = 1e-2
"""A stand-in whose values differ by more than this share of the largest one is not one."""


class Shadows:
    """Stand-ins by tensor; both are held, so that an identity means one tensor only."""

    def __init__(self) -> None:
        self._held: dict[int, tuple[Tensor, Shadow]] = {}

    def __contains__(self, value: object) -> bool:
        return id(value) in self._held

    def put(self, tensor: Tensor, shadow: Shadow) -> None:
        """Hold a stand-in as it is."""
        self._held[id(tensor)] = (tensor, shadow)

    def drop(self, tensor: Tensor) -> None:
        """Hold no stand-in of a tensor any more."""
        self._held.pop(id(tensor), None)

    def of(self, value: object) -> Shadow | None:
        """Return the stand-in of a tensor, if it has one."""
        held = self._held.get(id(value))
        return None if held is None else held[1]

    def live(self, args: Any, kwargs: dict[str, Any]) -> bool:
        """Return whether any tensor among some arguments carries a gradient or has a stand-in."""
        return any(t.requires_grad or id(t) in self._held for t in tensors((args, kwargs)))

    def effective(self, value: Any) -> Any:
        """Return a value with tensors replaced by their stand-ins."""
        if isinstance(value, Tensor):
            held = self._held.get(id(value))
            return value if held is None else held[1].value
        if isinstance(value, list | tuple):
            items = [self.effective(item) for item in value]
            return items if isinstance(value, list) else tuple(items)
        if isinstance(value, dict):
            return {key: self.effective(item) for key, item in value.items()}
        return value

    def forget(self, name: str, args: tuple[Any, ...]) -> None:
        """Drop the stand-in of a tensor that is overwritten with something else."""
        if name in ("zero_", "fill_", "normal_", "uniform_", "random_") and args:
            self._held.pop(id(args[0]), None)

    def keep(self, exact: Tensor, smooth: Any) -> bool:
        """Hold a stand-in of a tensor; return whether it is one."""
        shadow = smooth if isinstance(smooth, Shadow) else Shadow(value=smooth) if isinstance(smooth, Tensor) else None
        if shadow is None or (not shadow.value.requires_grad and shadow.members is None):
            return False
        values = exact.detach().dequantize() if exact.is_quantized else exact.detach()
        value = shadow.value
        if value.shape != values.shape or not value.is_floating_point():
            return False
        grafted = Grafted.apply(values.to(value.dtype), value)
        held = Shadow(value=grafted, members=shadow.members, ranked=shadow.ranked, dim=shadow.dim)
        self._held[id(exact)] = (exact, held)
        return True


@contextmanager
def differentiating() -> Iterator[None]:
    """Record a graph, also where the network's code says not to; what it overwrites later is copied."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        if not torch.is_grad_enabled():
            stack.enter_context(torch.autograd.graph.saved_tensors_hooks(_copy, lambda saved: saved))
        stack.enter_context(torch.enable_grad())
        yield


def _copy(saved: Tensor) -> Tensor:
    """Return what a backward pass needs, safe from later writes; parameters as they are."""
    return saved if isinstance(saved, nn.Parameter) else saved.clone()


def near(smooth: Tensor, exact: Tensor) -> bool:
    """Return whether a stand-in has the values of the exact result."""
    if smooth.shape != exact.shape or not smooth.is_floating_point() or exact.is_quantized:
        return False
    gap = (smooth.detach() - exact.detach().to(smooth.dtype)).nan_to_num(posinf=0.0, neginf=0.0)
    size = exact.detach().to(smooth.dtype).nan_to_num(posinf=0.0, neginf=0.0).abs()
    return exact.numel() == 0 or bool(gap.abs().max() <= _TOLERANCE * (1e-6 + size.max()))
