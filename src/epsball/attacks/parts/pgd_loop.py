"""The one PGD loop of the package, run with other arguments by PGD, FGSM and training's inner maximisers."""

from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor

from epsball.ball import Neighbourhood

Evaluate = Callable[[Tensor], tuple[Tensor, Tensor, Tensor | None]]
"""Maps points to (loss, gradient, going_on): per-example losses, their gradients in the points,
and the rows that continue (None: all of them)."""


def ascend(
    evaluate: Evaluate,
    start: Float[Tensor, "n *shape"],
    neighbourhood: Neighbourhood,
    step_sizes: Sequence[float | Tensor],
) -> tuple[Float[Tensor, "m *shape"], Neighbourhood]:
    """Run projected gradient ascent, x_{k+1} = P(x_k + step_k * v_k), v_k the steepest direction.

    P projects onto ball and box; v_k is the ball's `ascent` of the gradient at x_k: its sign
    for linf, the normalised gradient for l2, a multi-coordinate step for l1. A zero gradient
    takes no step.

    Parameters
    ----------
    evaluate
        Gives loss, gradient and the rows that go on, at one forward and one backward per step.
    start
        First iterate, in the neighbourhood.
    neighbourhood
        The ball around the centres, one row per example.
    step_sizes
        One step size per step, in units of the ball's norm: a number, or a tensor (m, 1, ...), one per example.

    Returns
    -------
    points, neighbourhood
        The last iterate of the remaining rows, not yet evaluated, and their neighbourhood.

    References
    ----------
    Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018.
    """
    points = start
    for step_size in step_sizes:
        _, gradient, going_on = evaluate(points)
        if going_on is not None:
            points, gradient = points[going_on], gradient[going_on]
            neighbourhood = neighbourhood.take(going_on)
        direction = neighbourhood.ascent(gradient, points)
        points = neighbourhood.project(direction.mul_(step_size).add_(points))
    return points, neighbourhood
