"""Free adversarial training: one backward pass moves the weights and the perturbation."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from epsball.attacks.parts import step_size as rules
from epsball.ball import Ball, Neighbourhood
from epsball.checks import check_count
from epsball.training.objectives.inner_search import require_radius, shrunk
from epsball.training.objectives.objective import Context, Losses, Replaying


@dataclass(frozen=True, kw_only=True)
class Free(Replaying):
    """Train on each batch `replays` times; each backward pass also takes a step of the perturbation.

    delta <- P(delta + step_size * v), v the ball's direction of steepest ascent, from the input
    gradient of the same backward pass that gives the weights' gradient; P projects onto ball and
    box (the authors' code lets delta keep what the box cuts off; that of Wong, Rice and Kolter
    does not). Each slot of the batch has its delta, carried from batch to batch, as published. A
    step costs one forward and one backward, in training mode. An epoch has `replays` times as
    many steps: choose fewer epochs.

    Parameters
    ----------
    ball
        The perturbation set trained for.
    replays
        Steps on each batch in a row, m in the paper.
    step_size
        Of the perturbation.

    Examples
    --------
    >>> import epsball as eb
    >>> eb.training.Free(ball=eb.Ball("linf", "8/255"), replays=4).step_size
    'radius'

    References
    ----------
    Shafahi et al., "Adversarial training for free!", NeurIPS 2019, algorithm 1.
    """

    name: ClassVar[str] = "free"

    ball: Ball
    replays: int = 8
    step_size: rules.StepSize = "radius"

    def __post_init__(self) -> None:
        check_count("replays", self.replays)
        require_radius(self.ball)
        rules.step_size(self.step_size, self.ball, 1)

    def __call__(self, module: nn.Module, x: Tensor, y: Tensor, context: Context) -> Losses:
        """Return the cross-entropy at x + delta; the backward pass moves delta."""
        neighbourhood = shrunk(self.ball, context.share).at(x)
        x_adv = neighbourhood.project(x + self._kept(x, context)).requires_grad_()
        size = rules.step_size(self.step_size, self.ball, 1) * context.share

        def move(gradient: Tensor) -> None:
            context.state["delta"] = _moved(neighbourhood, x_adv.detach(), gradient, size, context)

        x_adv.register_hook(move)
        return Losses(examples=context.cross_entropy(module(x_adv), y))

    def _kept(self, x: Tensor, context: Context) -> Tensor:
        """Return the perturbations of this batch's slots; that of a slot not yet used is 0."""
        delta = context.state.get("delta")
        if delta is None:
            return torch.zeros_like(x)
        missing = len(x) - len(delta)
        return torch.cat([delta, torch.zeros_like(x[:missing])]) if missing > 0 else delta[: len(x)]


def _moved(neighbourhood: Neighbourhood, x_adv: Tensor, gradient: Tensor, size: float, context: Context) -> Tensor:
    """Return the perturbations after a step; slots beyond this batch's keep theirs."""
    points = neighbourhood.project(x_adv + size * neighbourhood.ascent(gradient, x_adv))
    delta = points - neighbourhood.x
    kept = context.state.get("delta")
    return delta if kept is None or len(kept) <= len(delta) else torch.cat([delta, kept[len(delta) :]])
