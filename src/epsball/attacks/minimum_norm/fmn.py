"""FMN: the fast minimum-norm attack."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from epsball.attacks import losses
from epsball.attacks.engine.query import Query
from epsball.attacks.parts.attack import Attack, Domain
from epsball.attacks.parts.objective import of_labels
from epsball.attacks.parts.step_size import cosine
from epsball.attacks.parts.tensors import box_width, column, farthest_distance, take_rows, unit
from epsball.ball import Ball
from epsball.checks import check_count, check_positive, check_share
from epsball.randomness import Keys


@dataclass(frozen=True, kw_only=True)
class FMN(Attack):
    """Fast minimum-norm attack: the nearest adversarial point in linf, l2 or l1.

    With f_k the margin loss max_(j != y) z_j - z_y at x_k, delta_k = x_k - x, and d the least distance of
    an adversarial point so far::

        epsilon_(k+1) = min((1 - gamma_k) epsilon_k, d)             if x_k is misclassified,
                        (1 + gamma_k) epsilon_k                     else, if one before was,
                        (1 + gamma_k) (norm(delta_k) + abs(f_k) / norm_*(grad f_k)) else,
        x_(k+1) = P(x_k + alpha_k v_k),

    norm_* being the dual norm, and gamma_k and alpha_k falling along cosines to 0.001 and alpha / 100.
    K points are evaluated: K forward, K - 1 backward passes. Three departures from the paper make it
    better at equal passes: the last radius above oversteps the linearised boundary, where the paper's stops on it;
    P projects onto the box and the ball of radius epsilon_(k+1) together, where the paper projects and then
    clips; and in linf and l2 v_k is epsilon_(k+1) times the steepest direction in the norm, where the paper
    steps along grad f_k / norm_2(grad f_k), as is done here in l1.

    Parameters
    ----------
    steps
        Number of points K, at least 1.
    step_size
        alpha_0, a multiple of the radius in linf and l2, a length in l1.
    gamma
        gamma_0, the share by which the radius changes at first.
    restarts
        Number of starts, the first of them at x. The others (not in the paper) are at random corners of an linf ball,
        shortened to the distance of the nearest adversarial point known, which no radius exceeds. Where
        gradients near x are masked, they find what no path from x does.

    References
    ----------
    Pintor et al., "Fast minimum-norm adversarial attacks through adaptive norm constraints",
    NeurIPS 2021, algorithm 1.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> method = eb.attacks.FMN(steps=20)
    >>> eb.attack(classifier, x, y, eb.Ball("l2", 0.1), method=method, stop="never").distance < 0.45
    tensor([True])
    """

    name: ClassVar[str] = "fmn"
    domain: ClassVar[Domain] = "box"
    tolerance: ClassVar[float | None] = 0.01

    steps: int = 100
    step_size: float = 2.0
    gamma: float = 0.05
    restarts: int = 1

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        check_positive("step_size", self.step_size)
        check_share("gamma", self.gamma)
        check_count("restarts", self.restarts)

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the box around the active examples."""
        for restart in range(self.restarts):
            query.begin(restart)
            most, least = farthest_distance(query.neighbourhood, ball), query.nearest()[1]
            if restart == 0:
                least = torch.full_like(least, torch.inf)
                self._run(query, ball, query.x, least, most)
            else:
                most = torch.minimum(least, most)
                self._run(query, ball, _corners(query, keys[query.index].derive(restart), most), least, most)

    def _run(self, query: Query, ball: Ball, points: Tensor, least: Tensor, most: Tensor) -> None:
        """Run from given points, `least` being the nearest distance known; no radius becomes larger than `most`."""
        loss = of_labels(query, losses.margin)
        radius = most
        for k in range(self.steps - 1):
            alpha = cosine(self.step_size, self.step_size / 100, k, self.steps)
            gamma = cosine(self.gamma, 0.001, k, self.steps)
            _, (value,), (gradient,) = query.gradient(points, [loss])
            points, value, gradient, radius, least, most = take_rows(
                query.going_on, points, value.double(), gradient, radius, least, most
            )
            length, adversarial = ball.distance(points, query.x), value >= 0
            least = torch.where(adversarial, torch.minimum(least, length), least)
            to_boundary = value.abs() / ball.dual_norm(gradient).clamp(min=1e-12)
            outwards = (1 + gamma) * torch.where(least.isinf(), length + to_boundary, radius)
            radius = torch.where(adversarial, torch.minimum((1 - gamma) * radius, least), outwards).clamp(max=most)
            points = query.neighbourhood.shorten(points + alpha * _step(query, ball, gradient, points, radius), radius)
        query.logits(points)


def _corners(query: Query, keys: Keys, radius: Tensor) -> Tensor:
    """Return random corners of an linf ball, shortened to one radius per row."""
    x, reach = query.x, column(torch.where(radius.isinf(), 1.0, radius), query.x)
    signs = (keys.uniform(x.shape[1:]) < 0.5).to(x.dtype) * 2 - 1
    return query.neighbourhood.shorten(x + reach * signs, radius)


def _step(query: Query, ball: Ball, gradient: Tensor, points: Tensor, radius: Tensor) -> Tensor:
    """Return v_k; in l1 a dense step, which the projection makes sparse again."""
    if ball.norm == "l1":
        return unit(gradient) * box_width(query.neighbourhood)
    return query.neighbourhood.ascent(gradient, points) * column(radius, points)
