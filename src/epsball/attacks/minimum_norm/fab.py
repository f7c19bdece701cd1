"""FAB, the fast adaptive boundary attack, and its targeted form."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from epsball.attacks import losses
from epsball.attacks.engine.query import Query
from epsball.attacks.parts.attack import Attack, Domain
from epsball.attacks.parts.boundaries import likeliest, nearest_boundary
from epsball.attacks.parts.tensors import column, take_rows
from epsball.ball import Ball, Neighbourhood
from epsball.ball.norm import length
from epsball.checks import check_count, check_share
from epsball.errors import InputError
from epsball.randomness import Keys


@dataclass(frozen=True, kw_only=True)
class FAB(Attack):
    """The fast adaptive boundary attack: the nearest adversarial point in linf, l2 or l1.

    With H the boundary nearest to x_k of the model linearised at x_k, delta_1 and delta_2 the least
    displacements in the box that bring x_k and x onto H, and
    alpha = min(norm(delta_1) / (norm(delta_1) + norm(delta_2)), alpha_max),

        x_(k+1) = clip((1 - alpha) (x_k + eta delta_1) + alpha (x + eta delta_2)),

    and where that is misclassified, x_(k+1) = x + beta (x_(k+1) - x). A step costs two forward passes and one
    backward pass per class; their gradients are in memory together, so with very many classes take
    `TargetedFAB` or smaller batches. Restarts begin at half the ball's radius from x, in a random direction.

    Parameters
    ----------
    steps
        Number of steps, at least 1.
    restarts
        Number of starts, the first of them at x.
    alpha_max, eta, beta
        As above: the bias towards x, the overshoot, and the step back.

    References
    ----------
    Croce and Hein, "Minimally distorted adversarial examples with a fast adaptive boundary attack",
    ICML 2020, algorithm 1; parameters and restarts as in AutoAttack's code.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> method = eb.attacks.FAB(steps=5)
    >>> eb.attack(classifier, x, y, eb.Ball("l2", 0.1), method=method, stop="never").distance < 0.45
    tensor([True])
    """

    name: ClassVar[str] = "fab"
    domain: ClassVar[Domain] = "box"
    tolerance: ClassVar[float | None] = 0.051

    steps: int = 100
    restarts: int = 1
    alpha_max: float = 0.1
    eta: float = 1.05
    beta: float = 0.9

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        check_count("restarts", self.restarts)
        check_share("beta", self.beta)
        if not (0 <= self.alpha_max <= 1 and self.eta >= 1):
            raise InputError(
                f"alpha_max is {self.alpha_max} and eta {self.eta}; they must lie in [0, 1], and be at least 1."
            )

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the box around the active examples."""
        for restart in range(self.restarts):
            query.begin(restart)
            labels = query.y[:, None]
            others = torch.arange(query.classes - 1, device=labels.device).expand(len(labels), -1)
            self.run(query, ball, others + (others >= labels), _start(query, keys, restart))

    def run(self, query: Query, ball: Ball, targets: Tensor, points: Tensor) -> None:
        """Run from given points, towards the boundaries with some targets (n, k)."""
        for _ in range(self.steps):
            value, normal = nearest_boundary(query, ball, points, targets)
            points, targets, value, normal = take_rows(query.going_on, points, targets, value, normal)
            points = self._step(query.neighbourhood, points, value, normal)
            logits = query.logits(points)
            points, targets, logits = take_rows(query.going_on, points, targets, logits)
            back = torch.where(losses.margin(logits, query.y) >= 0, self.beta, 1.0)
            points = query.x.lerp(points, column(back, points))

    def _step(self, around: Neighbourhood, points: Tensor, value: Tensor, normal: Tensor) -> Tensor:
        """Return the next points, between the step from the points and the step from the examples."""
        x = around.x
        along = (normal * (points - x)).flatten(1).sum(1)
        begin = torch.cat([points, x])
        delta = around.to_hyperplane(begin, torch.cat([normal, normal]), torch.cat([-value, along - value]))
        size_1, size_2 = length(delta.flatten(1), around.norm.order).clamp(min=1e-8).chunk(2)
        alpha = column((size_1 / (size_1 + size_2)).clamp(max=self.alpha_max), points)
        from_point, from_x = delta.mul_(self.eta).add_(begin).chunk(2)
        return around.clip(from_point.lerp(from_x, alpha))


@dataclass(frozen=True, kw_only=True)
class TargetedFAB(Attack):
    """FAB towards one class after the other, those of largest logits first: FAB-T.

    Only the boundary with the target is linearised, so that a step costs two forward passes and one
    backward pass for any number of classes. Any misclassification counts.

    Parameters
    ----------
    targets
        Number of target classes, at least 1; at most all classes other than the label.
    steps, restarts
        As for `FAB`, per target; its other options have their defaults.

    References
    ----------
    Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks", ICML 2020: 9 targets, 100 steps, one start.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> method = eb.attacks.TargetedFAB(steps=5, targets=2)
    >>> eb.attack(classifier, x, y, eb.Ball("l2", 0.1), method=method, stop="never").distance < 0.45
    tensor([True])
    """

    name: ClassVar[str] = "fab-t"
    domain: ClassVar[Domain] = "box"
    tolerance: ClassVar[float | None] = 0.051

    targets: int = 9
    steps: int = 100
    restarts: int = 1

    def __post_init__(self) -> None:
        for name in ("targets", "steps", "restarts"):
            check_count(name, getattr(self, name))

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the box around the active examples."""
        attack = FAB(steps=self.steps)
        (logits,) = take_rows(query.going_on, query.logits(query.x))
        found = likeliest(logits, query.y, self.targets)
        order = torch.zeros(query.total, found.shape[1], dtype=torch.int64, device=logits.device)
        # Where a class is masked, the likeliest one is tried again.
        order[query.index] = torch.where(logits.gather(1, found) == -torch.inf, found[:, :1], found)
        for target in range(order.shape[1]):
            for restart in range(self.restarts):
                query.begin(target * self.restarts + restart)
                start = _start(query, keys.derive(target), restart)
                attack.run(query, ball, order[query.index, target, None], start)


def _start(query: Query, keys: Keys, restart: int) -> Tensor:
    """Return the examples, or for later restarts points half the radius away from them."""
    around, x = query.neighbourhood, query.x
    if restart == 0:
        return x
    draws = around.norm.draw(keys[query.index].derive(restart), x[0].numel()).view(x.shape)
    size = length(draws.flatten(1), around.norm.order)
    return around.clip((x + column(0.5 * around.radius / size, draws) * draws).to(x.dtype))
