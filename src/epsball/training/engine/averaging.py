"""Averages of the weights: exponential (EMA) or over the ends of epochs (SWA)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from epsball.recipe import Recipe


class Average:
    """A weighted mean of a module's states, kept beside it.

    EMA: m <- d m + (1 - d) w after each step, with d = min(decay, (1 + t) / (10 + t)) so that
    the first steps soon lose their weight. SWA: the mean of w over the ends of epochs.
    Floating-point buffers (running statistics) are averaged too, others are copied.

    Parameters
    ----------
    module
        The module averaged.
    recipe
        Its `ema` and `swa`; if both are 0, nothing is kept.

    References
    ----------
    Izmailov et al., "Averaging weights leads to wider optima and better generalization", UAI
    2018. Gowal et al., "Uncovering the limits of adversarial training", 2020 (EMA).
    """

    def __init__(self, module: nn.Module, recipe: Recipe) -> None:
        self._module, self._recipe = module, recipe
        self._mean: list[Tensor] = []
        self._count = 0

    def after_step(self) -> None:
        """Update the exponential average with the weights after an optimiser's step."""
        if not self._recipe.ema:
            return
        t = self._count
        self._take(1.0 - min(self._recipe.ema, (1 + t) / (10 + t)))

    def after_epoch(self, epochs: int) -> None:
        """Update the mean with the weights at the end of an epoch; `epochs` counts those done."""
        if self._recipe.swa and epochs > self._recipe.swa * self._recipe.epochs:
            self._take(1.0 / (self._count + 1))

    def _take(self, weight: float) -> None:
        current = _tensors(self._module)
        if not self._mean:
            self._mean = [tensor.clone() for tensor in current]
        for mean, tensor in zip(self._mean, current, strict=True):
            if mean.is_floating_point():
                mean.lerp_(tensor, weight)
            else:
                mean.copy_(tensor)
        self._count += 1

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the average into the module inside the block; the weights come back afterwards."""
        if not self._mean:
            yield
            return
        kept = [tensor.clone() for tensor in _tensors(self._module)]
        try:
            self.settle()
            yield
        finally:
            _put(self._module, kept)

    def settle(self) -> None:
        """Put the average into the module for good."""
        if self._mean:
            _put(self._module, self._mean)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"mean": self._mean, "count": self._count}

    def load(self, state: dict[str, Any]) -> None:
        """Restore what a checkpoint kept."""
        like = _tensors(self._module)
        self._mean = [tensor.to(of.device) for tensor, of in zip(state["mean"], like, strict=False)]
        self._count = state["count"]


def _tensors(module: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in (*module.parameters(), *module.buffers())]


def _put(module: nn.Module, values: list[Tensor]) -> None:
    for tensor, value in zip(_tensors(module), values, strict=True):
        tensor.copy_(value)
