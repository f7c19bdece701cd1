"""The points a landscape marks: FGSM's point, the witness an attack finds, and a second one."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from epsball.attacks import PGD, Attack, attack
from epsball.attacks import losses as attack_losses
from epsball.attacks.parts.tensors import column
from epsball.classifier.margins import margins
from epsball.errors import NoGradientError
from epsball.masking.geometry.surface import Surface
from epsball.masking.landscape.subject import Subject


@dataclass(frozen=True, kw_only=True, eq=False)
class Landmark:
    """One point of N(x) per example.

    Parameters
    ----------
    name
        What it is called in figures.
    point
        The points (n, *shape).
    margin, predicted
        By the model at the points.
    known
        Whether there is one; where not, the point is the example itself.
    """

    name: str
    point: Float[Tensor, "n *shape"]
    margin: Float64[Tensor, " n"]
    predicted: Int64[Tensor, " n"]
    known: Bool[Tensor, " n"]


def landmark(subject: Subject, name: str, point: Tensor) -> Landmark:
    """Return points with the model's answers there; a point that is the example itself is none."""
    logits = subject.classifier.logits(point)
    return Landmark(
        name=name,
        point=point,
        margin=margins(subject.classifier.effective_logits(logits, subject.y), subject.y),
        predicted=logits.argmax(1),
        known=(point != subject.x).flatten(1).any(1),
    )


def fgsm_point(subject: Subject) -> tuple[Landmark, Bool[Tensor, " n"]]:
    """Return P(x + radius * ascent(grad l(x))), P the projection onto ball and box, l the cross-entropy.

    Where its gradient is zero or not finite (saturated logits) the margin's is taken, and the second value is
    True. Where both are zero, or the model passes no gradient, the point is the example itself.
    """
    loss = Surface.of(subject.classifier, subject.x, subject.y, attack_losses.cross_entropy)
    gradient = _usable_gradient(loss)
    lost = ~gradient.flatten(1).any(1)
    if bool(lost.any()):
        gradient = torch.where(column(lost, gradient), -_usable_gradient(subject.margin), gradient)
    around = subject.around
    step = around.radius * around.ascent(gradient, subject.x)
    found = landmark(subject, "FGSM", around.project(subject.x + step))
    return found, lost & found.known


def _usable_gradient(surface: Surface) -> Float[Tensor, "n *shape"]:
    """Return gradients, those that are not finite as zero, and zeros where none reaches the input."""
    try:
        _, gradient = surface.gradients(surface.x)
    except NoGradientError:
        return torch.zeros_like(surface.x)
    return gradient * column(gradient.flatten(1).isfinite().all(1), gradient).nan_to_num()


def witness(subject: Subject, method: str | Attack) -> tuple[Landmark, Bool[Tensor, " n"]]:
    """Return the point of lowest margin that an attack verified, and where it is a witness.

    An attack that needs a gradient gives way to Square where the model passes none.
    """
    arguments = (subject.classifier, subject.x, subject.y, subject.ball)
    try:
        result = attack(*arguments, method=method, seed=subject.seed)
    except NoGradientError:
        result = attack(*arguments, method="square", seed=subject.seed)
    return landmark(subject, "witness", result.x_adv), result.broken


def second_witness(subject: Subject) -> tuple[Landmark, Bool[Tensor, " n"]]:
    """Return a point found from other starts, by PGD on the margin from uniform starts, and where it is a witness."""
    method = PGD(steps=20, restarts=5, loss="margin")
    arguments = (subject.classifier, subject.x, subject.y, subject.ball)
    try:
        result = attack(*arguments, method=method, seed=subject.seed)
    except NoGradientError:
        result = attack(*arguments, method="square", seed=(subject.seed + 1) % 2**63)
    return landmark(subject, "second witness", result.x_adv), result.broken
