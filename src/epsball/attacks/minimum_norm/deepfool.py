"""DeepFool: one linearisation after another."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from epsball.attacks import losses
from epsball.attacks.engine.query import Query
from epsball.attacks.parts.attack import Attack, Domain, NormName
from epsball.attacks.parts.boundaries import likeliest, nearest_boundary
from epsball.attacks.parts.tensors import column, take_rows
from epsball.ball import Ball
from epsball.checks import check_count, check_positive
from epsball.randomness import Keys

_PUSH = 1e-4


@dataclass(frozen=True, kw_only=True)
class DeepFool(Attack):
    """DeepFool in l2 or linf: steps to the nearest boundary of the linearised model, until it is crossed.

    With f_j = z_j - z_y at x_k and w_j its gradient, the boundary of the class
    j = argmin abs(f_j) / norm_*(w_j) is nearest, and

        r_k = abs(f_j) / norm_2(w_j)^2 w_j in l2,  abs(f_j) / norm_1(w_j) sign(w_j) in linf,
        x_(k+1) = clip(x + (1 + overshoot) (r_0 + ... + r_k)).

    From the second step on r_k is longer by 1e-4 (in the released code from the first), because the box may keep
    a step from crossing. All examples and classes of a step go through the model together: one forward pass
    and one backward pass per class. Misclassified examples are done.

    Parameters
    ----------
    steps
        Most steps, at least 1.
    overshoot
        The share by which the boundary is overstepped.
    classes
        Number of classes other than the label that are considered, those of largest logits at x.

    References
    ----------
    Moosavi-Dezfooli, Fawzi and Frossard, "DeepFool: a simple and accurate method to fool deep neural
    networks", CVPR 2016, algorithm 2 and section 3.3; 50 steps, overshoot 0.02 and 10 classes,
    the label included, are those of its released code.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> method = eb.attacks.DeepFool()
    >>> eb.attack(classifier, x, y, eb.Ball("l2", 0.1), method=method, stop="never").distance < 0.45
    tensor([True])
    """

    name: ClassVar[str] = "deepfool"
    domain: ClassVar[Domain] = "box"
    norms: ClassVar[tuple[NormName, ...]] = ("l2", "linf")
    tolerance: ClassVar[float | None] = 0.021

    steps: int = 50
    overshoot: float = 0.02
    classes: int = 9

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        check_count("classes", self.classes)
        check_positive("overshoot", self.overshoot)

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the box around the active examples."""
        query.begin(0)
        points, total, targets = query.x, torch.zeros_like(query.x), query.y[:, None]
        going = torch.ones_like(query.y, dtype=torch.bool)
        for k in range(self.steps + 1):
            rows = torch.nonzero(going)[:, 0]
            y = query.y[rows]
            logits = query.logits(points[rows], rows)
            if k == 0:
                targets = likeliest(logits, y, self.classes)
            going[rows] = losses.margin(logits, y) < 0
            points, total, targets, going = take_rows(query.going_on, points, total, targets, going)
            rows = torch.nonzero(going)[:, 0]
            if k == self.steps or len(rows) == 0:
                return
            around = query.neighbourhood.take(rows)
            value, normal = nearest_boundary(query, ball, points[rows], targets, rows)
            size = value.abs() / ball.dual_norm(normal).clamp(min=1e-12) + (_PUSH if k else 0.0)
            total[rows] += around.ascent(normal, points[rows]) * column(size, normal)
            total, targets, going = take_rows(query.going_on, total, targets, going)
            points = query.neighbourhood.clip(query.x + (1 + self.overshoot) * total)
