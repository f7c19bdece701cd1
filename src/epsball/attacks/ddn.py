"""DDN: decoupled direction and norm."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from epsball.attacks import losses
from epsball.attacks.options import check_count, check_share
from epsball.attacks.query import Query
from epsball.attacks.standing import cosine, farthest, kept, like, of_labels, unit
from epsball.ball import Ball
from epsball.randomness import Keys


@dataclass(frozen=True, kw_only=True)
class DDN:
    """Decoupled direction and norm: the nearest adversarial point in l2.

    With g_k the gradient of the cross-entropy at x_k over its length, delta_k = x_k - x and

        delta_(k+1) = delta_k + alpha_k g_k,
        epsilon_(k+1) = (1 - gamma) epsilon_k if x_k is misclassified, else (1 + gamma) epsilon_k,
        x_(k+1) = clip(x + epsilon_(k+1) delta_(k+1) / norm(delta_(k+1))),

    alpha_k falling from 1 to 0.01 along a cosine. A zero gradient is replaced by a random direction.
    The points are not rounded to 256 levels. K points are evaluated: K forward, K - 1 backward passes.

    Parameters
    ----------
    steps
        Number of points K, at least 1.
    norm
        epsilon_0, the first length.
    gamma
        By what share the length changes.

    References
    ----------
    Rony et al., "Decoupling direction and norm for efficient gradient-based l2 adversarial attacks and
    defenses", CVPR 2019, algorithm 1.
    """

    steps: int = 100
    norm: float = 1.0
    gamma: float = 0.05
    name: ClassVar[str] = "ddn"
    domain: ClassVar[str] = "box"
    norms: ClassVar[tuple[str, ...]] = ("l2",)
    tolerance: ClassVar[float] = 0.06

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        check_share("gamma", self.gamma)

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the box around the standing examples."""
        query.begin(0)
        loss = of_labels(query, losses.cross_entropy)
        points, most = query.x, farthest(query, ball)
        length = torch.full_like(most, self.norm)
        for k in range(self.steps - 1):
            logits, _, (gradient,) = query.gradient(points, [loss])
            points, gradient, logits, length, most = kept(query.going_on, points, gradient, logits, length, most)
            adversarial = losses.margin(logits, query.y) >= 0
            direction = _turned(unit(gradient), keys[query.index].derive(k))
            delta = points - query.x + direction.mul_(cosine(1.0, 0.01, k, self.steps))
            length = torch.where(adversarial, (1 - self.gamma) * length, (1 + self.gamma) * length).clamp(max=most)
            size = ball.distance(query.x + delta, query.x)
            points = query.neighbourhood.clip(query.x + delta * like(length / size, delta))
        query.logits(points)


def _turned(direction: Tensor, keys: Keys) -> Tensor:
    """Return directions with the zero ones replaced by random ones of unit length."""
    zero = ~direction.flatten(1).any(1)
    if bool(zero.any()):
        direction[zero] = unit(keys[zero].normal(direction.shape[1:], direction.dtype))
    return direction
