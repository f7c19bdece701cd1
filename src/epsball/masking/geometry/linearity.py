"""Local linearity: how far a function leaves its tangent within N(x)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from epsball.attacks.parts import step_size as rules
from epsball.attacks.parts import tensors
from epsball.attacks.parts.pgd_loop import ascend
from epsball.ball import Ball
from epsball.checks import check_count
from epsball.masking.geometry.expansion import inner
from epsball.masking.geometry.surface import Surface
from epsball.randomness import Keys


@dataclass(frozen=True, kw_only=True, eq=False)
class Linearity:
    """gamma, as large as it was found, and where; one entry per example.

    Parameters
    ----------
    gamma
        abs(f(x + d) - f(x) - d^T grad f(x)) at the point found: at most the maximum over N(x).
    point
        x + d.
    first
        The largest first-order change that the norm allows, radius * dual norm of grad f(x).
    """

    gamma: Float64[Tensor, " n"]
    point: Float[Tensor, "n *shape"]
    first: Float64[Tensor, " n"]

    @property
    def relative(self) -> Float64[Tensor, " n"]:
        """Gamma over the largest first-order change; infinite where a zero gradient hides a change."""
        return self.gamma / self.first


def local_linearity(
    surface: Surface, ball: Ball, keys: Keys, *, steps: int = 10, restarts: int = 4, given: Tensor | None = None
) -> Linearity:
    """Return gamma = max over x + d in N(x) of abs(f(x + d) - f(x) - d^T grad f(x)), found by ascent.

    The residual r's gradient, grad f(x + d) - grad f(x), is 0 at d = 0: the ascent begins at points drawn uniformly
    from the ball. It ascends r and -r in turn, since the larger of the two may be hidden behind the other.

    Parameters
    ----------
    surface
        f and x.
    ball
        The perturbation set.
    keys
        One key per example.
    steps, restarts
        Of the ascent; each restart takes steps + 1 gradients per example. Restarts alternate between r and -r.
    given
        Points of N(x) to look at too, one per example: where an attack ended.

    References
    ----------
    Qin et al., "Adversarial robustness through local linearization", NeurIPS 2019, eq. (5).

    Examples
    --------
    >>> import torch, epsball as eb
    >>> from epsball.masking.geometry import Surface, local_linearity
    >>> from epsball.randomness import Keys
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.full((1, 4), 0.5), torch.tensor([0])
    >>> surface = Surface.of(classifier, x, y, lambda logits, y: logits.square().sum(1) / 2)
    >>> with classifier.in_use():
    ...     found = local_linearity(surface, eb.Ball("linf", "1/4"), Keys.of_examples(x, y, 0))
    >>> float(found.gamma)  # radius^2 * 4 / 2
    0.125
    """
    check_count("steps", steps)
    check_count("restarts", restarts)
    x, around = surface.x, ball.at(surface.x)
    value, gradient = surface.gradients(x)
    best = _Best(x)

    def residual(points: Tensor) -> tuple[Tensor, Tensor]:
        there, slope = surface.gradients(points)
        left = there - value - inner(gradient, points.double() - x.double())
        best.see(left.abs(), points)
        return left, slope - gradient

    def below_tangent(points: Tensor) -> tuple[Tensor, Tensor, None]:
        left, slope = residual(points)
        return -left, -slope, None

    def above_tangent(points: Tensor) -> tuple[Tensor, Tensor, None]:
        return *residual(points), None

    sizes = [rules.step_size(rules.DEFAULT, ball, steps)] * steps
    for restart in range(restarts):
        side = below_tangent if restart % 2 else above_tangent
        last, _ = ascend(side, around.sample(keys.derive("linearity", restart)), around, sizes)
        residual(last)
    if given is not None:
        residual(given)
    first = float(ball.radius) * ball.dual_norm(gradient)
    return Linearity(gamma=best.gamma, point=best.point, first=first)


class _Best:
    """The largest residual so far and its point, per example."""

    def __init__(self, x: Tensor) -> None:
        self.gamma = x.new_zeros(len(x), dtype=torch.float64)
        self.point = x.clone()

    def see(self, gamma: Tensor, points: Tensor) -> None:
        """Keep what is larger; a value that is not a number never is."""
        larger = gamma > self.gamma
        self.gamma = torch.where(larger, gamma, self.gamma)
        self.point = torch.where(tensors.column(larger, points), points, self.point)
