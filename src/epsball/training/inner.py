"""The inner maximiser of training: the package's one PGD loop on the bare module."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsball.attacks.loop import ascend
from epsball.attacks.starts import Start
from epsball.ball import Ball
from epsball.randomness import Keys
from epsball.state import evaluating


def maximise(
    module: nn.Module,
    loss: Callable[[Tensor], Tensor],
    x: Float[Tensor, "n *shape"],
    ball: Ball,
    *,
    step_sizes: list[float],
    start: Start,
    keys: Keys,
) -> Float[Tensor, "n *shape"]:
    """Return points of N(x) where the per-example loss of the logits is large.

    The module runs in evaluation mode, so that its statistics are those of deployment and no
    buffer moves; only input gradients are computed, K forwards and K backwards. The result is
    a constant for the outer step (Danskin).

    Parameters
    ----------
    module
        Raw pixels to logits.
    loss
        Maps logits (n, classes) to losses (n,).
    x, ball
        Centres and perturbation set.
    step_sizes, start, keys
        As for `epsball.attacks.loop.ascend`; keys hold one key an example.
    """

    def evaluate(points: Tensor) -> tuple[Tensor, Tensor, None]:
        leaf = points.detach().requires_grad_()
        value = loss(module(leaf))
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
        return value, gradient, None

    neighbourhood = ball.at(x)
    first = start(neighbourhood, keys, torch.arange(len(x), device=x.device))
    with evaluating(module), torch.enable_grad():
        points, _ = ascend(evaluate, first, neighbourhood, step_sizes)
    return points.detach()
