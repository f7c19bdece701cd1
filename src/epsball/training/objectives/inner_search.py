"""The inner maximiser of training: the package's one PGD loop on the bare module."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsball.attacks.engine.thin_convolutions import ThinConvolutions
from epsball.attacks.parts import starts
from epsball.attacks.parts import step_size as rules
from epsball.attacks.parts.pgd_loop import ascend
from epsball.attacks.parts.starts import Start
from epsball.ball import Ball
from epsball.checks import check_count
from epsball.errors import InputError
from epsball.module_state import evaluating
from epsball.randomness import Keys
from epsball.training.objectives.objective import Context

StartName = Literal["uniform", "gaussian", "surface", "none"]
"""Where a search begins: uniform in the ball, near the example, at the radius, or at the example itself."""


def maximise(
    module: nn.Module,
    loss: Callable[[Tensor], Tensor],
    x: Float[Tensor, "n *shape"],
    ball: Ball,
    *,
    step_sizes: Sequence[float | Tensor],
    start: Start,
    keys: Keys,
) -> Float[Tensor, "n *shape"]:
    """Return points of N(x) where the per-example loss of the logits is large.

    The module runs in evaluation mode with frozen parameters, so that its statistics are those
    of deployment, no buffer moves, and only input gradients are computed, K forwards and K
    backwards. The result is a constant for the outer step (Danskin).

    Parameters
    ----------
    module
        Raw pixels to logits.
    loss
        Maps logits (n, classes) to losses (n,).
    x, ball
        Centres and perturbation set.
    step_sizes, start, keys
        As for `epsball.attacks.parts.pgd_loop.ascend`; keys hold one key per example.
    """

    def evaluate(points: Tensor) -> tuple[Tensor, Tensor, None]:
        leaf = points.detach().requires_grad_()
        with ThinConvolutions():
            value = loss(module(leaf))
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
        return value, gradient, None

    neighbourhood = ball.at(x)
    first = start(neighbourhood, keys, torch.arange(len(x), device=x.device))
    with evaluating(module), _frozen(module), torch.enable_grad():
        points, _ = ascend(evaluate, first, neighbourhood, step_sizes)
    return points.detach()


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Freeze every parameter inside the block."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


@runtime_checkable
class _Steps(Protocol):
    """The options of an objective that takes K steps."""

    @property
    def ball(self) -> Ball: ...
    @property
    def steps(self) -> int: ...
    @property
    def step_size(self) -> rules.StepSize: ...
    @property
    def start(self) -> StartName: ...


@dataclass(frozen=True, kw_only=True)
class InnerSearch:
    """K steps of projected gradient ascent in a ball: the inner search of most objectives.

    Parameters
    ----------
    ball, steps, step_size, start
        As in `epsball.training.PGD`.

    Raises
    ------
    InputError
        If steps is not a whole number of at least 1, or the radius is 0.
    """

    ball: Ball
    steps: int
    step_size: rules.StepSize
    start: StartName

    @classmethod
    def of(cls, objective: _Steps) -> "InnerSearch":
        """Return the search of an objective with these options."""
        return cls(ball=objective.ball, steps=objective.steps, step_size=objective.step_size, start=objective.start)

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        require_radius(self.ball)
        starts.resolve(self.start)
        rules.step_size(self.step_size, self.ball, self.steps)

    def __call__(
        self, module: nn.Module, loss: Callable[[Tensor], Tensor], x: Tensor, context: Context
    ) -> Float[Tensor, "n *shape"]:
        """Return points of N(x), at the share of the radius in force, where the loss of the logits is large."""
        ball = shrunk(self.ball, context.share)
        sizes = [rules.step_size(self.step_size, self.ball, self.steps) * context.share] * self.steps
        start, keys = starts.resolve(self.start), context.keys.derive("search")
        return maximise(module, loss, x, ball, step_sizes=sizes, start=start, keys=keys)


def require_radius(ball: Ball) -> None:
    """Raise InputError for a ball of radius 0."""
    if ball.radius == 0:
        raise InputError("the radius is 0: that is standard training. Use the objective 'standard'.")


def shrunk(ball: Ball, share: float) -> Ball:
    """Return the ball with this share of its radius."""
    return ball if share == 1.0 else replace(ball, radius=ball.radius * Fraction(share).limit_denominator(10**6))
