"""DDN: decoupled direction and norm."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from epsball.attacks import losses
from epsball.attacks.engine.query import Query
from epsball.attacks.parts.attack import Attack, Domain, NormName
from epsball.attacks.parts.objective import of_labels
from epsball.attacks.parts.step_size import cosine
from epsball.attacks.parts.tensors import box_width, column, farthest_distance, take_rows, unit
from epsball.ball import Ball
from epsball.checks import check_count, check_share
from epsball.randomness import Keys


@dataclass(frozen=True, kw_only=True)
class DDN(Attack):
    """Decoupled direction and norm: the nearest adversarial point in l2.

    With g_k the gradient of the cross-entropy at x_k over its length, delta_k = x_k - x and

        delta_(k+1) = delta_k + alpha_k g_k,
        epsilon_(k+1) = (1 - gamma_k) epsilon_k if x_k is misclassified, else (1 + gamma_k) epsilon_k,
        x_(k+1) = clip(x + epsilon_(k+1) delta_(k+1) / norm(delta_(k+1))),

    alpha_k falling from 1 to 0.01 along a cosine. A zero gradient is replaced by a random direction. Two
    departures: the paper has one gamma of 0.05, here gamma_k falls along a cosine to 0.001, as FMN's does; and
    the points are not rounded to 256 levels. K points are evaluated: K forward, K - 1 backward passes.

    Parameters
    ----------
    steps
        Number of points K, at least 1.
    length
        epsilon_0, the first length, in widths of the box (as is alpha_k), or five times the distance to the
        linearised boundary where that is less.
    gamma
        gamma_0, the share by which the length changes at first.

    References
    ----------
    Rony et al., "Decoupling direction and norm for efficient gradient-based l2 adversarial attacks and
    defenses", CVPR 2019, algorithm 1.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> method = eb.attacks.DDN(steps=30)
    >>> eb.attack(classifier, x, y, eb.Ball("l2", 0.1), method=method, stop="never").distance < 0.5
    tensor([True])
    """

    name: ClassVar[str] = "ddn"
    domain: ClassVar[Domain] = "box"
    norms: ClassVar[tuple[NormName, ...]] = ("l2",)
    tolerance: ClassVar[float | None] = 0.03

    steps: int = 100
    length: float = 1.0
    gamma: float = 0.075

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        check_share("gamma", self.gamma)

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the box around the active examples."""
        query.begin(0)
        loss = of_labels(query, losses.cross_entropy)
        points, most = query.x, farthest_distance(query.neighbourhood, ball)
        size = box_width(query.neighbourhood)
        length = torch.full_like(most, self.length * size)
        for k in range(self.steps - 1):
            logits, (value,), (gradient,) = query.gradient(points, [loss])
            points, gradient, logits, value, length, most = take_rows(
                query.going_on, points, gradient, logits, value, length, most
            )
            margin = losses.margin(logits, query.y)
            adversarial = margin >= 0
            if k == 0:
                length = torch.minimum(length, _near_boundary(margin, value, gradient))
            gamma = cosine(self.gamma, 0.001, k, self.steps)
            direction = _turned(unit(gradient), keys[query.index].derive(k))
            delta = points - query.x + direction.mul_(size * cosine(1.0, 0.01, k, self.steps))
            length = torch.where(adversarial, (1 - gamma) * length, (1 + gamma) * length).clamp(max=most)
            reached = ball.distance(query.x + delta, query.x)
            points = query.neighbourhood.clip(query.x + delta * column(length / reached, delta))
        query.logits(points)


def _near_boundary(margin: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
    """Return five times the distance to the linearised boundary, infinite where the gradient vanishes.

    The gradient of the margin is taken to be that of the cross-entropy over 1 - p_y: exact for two classes.
    """
    length = torch.linalg.vector_norm(gradient.flatten(1), dim=1, dtype=torch.float64)
    distance = 5 * margin.double().abs() * -torch.expm1(-value.double()) / length
    return torch.where((length > 0) & ~distance.isnan(), distance, torch.inf)


def _turned(direction: Tensor, keys: Keys) -> Tensor:
    """Return directions with the zero ones replaced by random ones of unit length."""
    zero = ~direction.flatten(1).any(1)
    if bool(zero.any()):
        direction[zero] = unit(keys[zero].normal(direction.shape[1:], direction.dtype))
    return direction
