"""`landscape`: the model along two directions around each example, with the numbers that a picture hides."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from epsball import progress
from epsball.attacks import Attack, registry
from epsball.attacks.attack import check_subject
from epsball.ball import Ball
from epsball.checks import check_count, check_positive
from epsball.classifier import Classifier
from epsball.errors import InputError
from epsball.generator_state import preserved
from epsball.masking.landscape import directions as named
from epsball.masking.landscape.directions import Direction
from epsball.masking.landscape.lines import lines
from epsball.masking.landscape.marks import Found, Mark
from epsball.masking.landscape.numbers import numbers
from epsball.masking.landscape.outline import box_outline, neighbourhood_outline
from epsball.masking.landscape.plane import plane
from epsball.masking.landscape.result import QUANTITIES, Landscape
from epsball.masking.landscape.subject import Subject
from epsball.masking.landscape.sweep import Sweep, spaced
from epsball.plain import plain
from epsball.randomness import check_seed


def landscape(
    classifier: Classifier,
    x: Tensor,
    y: Tensor,
    ball: Ball,
    *,
    directions: tuple[Direction, Direction] = ("gradient", "witness"),
    method: str | Attack = "ensemble",
    reach: float | None = None,
    points: int = 61,
    seed: int = 0,
    batch_size: int | None = None,
) -> Landscape:
    """Return f(e1, e2) = L(x + e1 v1 + e2 v2) around each example: margin, cross-entropy and class.

    v1 and v2 are displacements in input space, as long as the radius in the ball's norm: coordinates are in radii. A
    named direction leads to a point of ball and box (FGSM's clipped point, a witness, a random point), so
    that the way there lies in N(x). v2 is made orthogonal to v1. Points of the plane outside the
    classifier's box are evaluated as they are and marked: no input lies there.

    Parameters
    ----------
    classifier, x, y, ball
        As for `attack`; the radius is positive.
    directions
        v1 and v2 before they are made orthogonal: ``"gradient"`` (to FGSM's point: the sign of the gradient in
        linf), ``"witness"`` (to what `method` finds), ``"second-witness"``, ``"random"``, ``"curvature"`` (along which
        the margin's gradient changes most), or displacements (n, *shape) or (*shape). A direction that is zero, or
        parallel to the other, gives way to a random one; a note says so.
    method
        The attack that looks for the witness, as for `attack`.
    reach
        Ends of the axes, in radii; None: 1.5, or farther if a point that is marked lies farther out.
    points
        Points per axis, odd, so that x is one of them.
    seed
        Seed of every draw.
    batch_size
        Points per pass; None: as many as fit.

    Raises
    ------
    InputError
        If data, labels, ball or options break a rule.
    ModelError
        If the model does not behave as a classifier.

    References
    ----------
    Kim, Lee and Lee, "Understanding catastrophic overfitting in single-step adversarial training", AAAI 2021
    (surfaces coloured by the predicted class).

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.6, 0.3, 0.2]]), torch.tensor([0])
    >>> result = eb.landscape(classifier, x, y, eb.Ball("linf", 0.1), points=5)
    >>> result.margin.shape, round(float(result.numbers["margin"].first), 4)
    (torch.Size([1, 5, 5]), -0.2)
    """
    attack = registry.resolve(method)
    _check(directions, reach, points, seed, batch_size)
    check_subject(classifier, ball)
    if ball.radius == 0:
        raise InputError("the ball has radius 0; axes are in radii, so give a positive one.")
    x, y = classifier.pixels(x), plain(y) if isinstance(y, Tensor) else y
    with preserved(seed if classifier.stochastic else None), classifier.in_use():
        classifier.check(x, y)
        subject = Subject.of(classifier, x, y, ball, seed)
        return _landscape(subject, directions, attack, reach, points, batch_size)


def _check(directions: object, reach: object, points: int, seed: int, batch_size: int | None) -> None:
    if not isinstance(directions, tuple | list) or len(directions) != 2:
        raise InputError(f"directions are {directions!r}; give two, as in ('gradient', 'witness').")
    for direction in directions:
        named.name_of(direction)
    if reach is not None:
        check_positive("reach", reach)
    check_count("points", points, unit="points per axis")
    if points < 3 or points % 2 == 0:
        raise InputError(f"points is {points}; give an odd number, at least 3, so that the example is one of them.")
    check_count("batch_size", batch_size, unit="points per pass", optional=True)
    check_seed(seed)


def _landscape(
    subject: Subject,
    directions: tuple[Direction, Direction],
    attack: Attack,
    reach: float | None,
    points: int,
    rows: int | None,
) -> Landscape:
    found = Found(subject, attack, directions)
    span = plane(subject, *(found.displacement(direction) for direction in directions))
    marks = found.marks(span)
    axis = spaced(_reach(marks) if reach is None else reach, points)
    sweep, heights = Sweep(subject, rows), []
    for i in range(len(subject)):
        heights.append(sweep.heights(i, (span.v1[i], span.v2[i]), axis, axis))
        progress.report("landscape", i + 1, len(subject))
    shape = (len(subject), len(axis), len(axis))
    maps = {name: torch.stack([getattr(h, name) for h in heights]).view(shape) for name in QUANTITIES}
    sections = [(subject.ball, subject.x[i], span.v1[i], span.v2[i]) for i in range(len(subject))]
    return Landscape(
        **maps,
        axis=axis,
        numbers=numbers(subject, found.fgsm.point, found.witness.point),
        lines=lines(sweep, subject, span, axis),
        marks=marks,
        outline=[neighbourhood_outline(*section) for section in sections],
        box=[box_outline(*section, float(axis[-1])) for section in sections],
        directions=(named.name_of(directions[0]), named.name_of(directions[1])),
        x=subject.x.cpu(),
        v1=span.v1.cpu(),
        v2=span.v2.cpu(),
        y=subject.y.cpu(),
        ball=subject.ball,
        notes=found.notes(span.replaced),
    )


def _reach(marks: Sequence[Sequence[Mark]]) -> float:
    """Return ends of axes, a multiple of 1/4, that leave room around every mark."""
    farthest = max((max(abs(mark.e1), abs(mark.e2)) for row in marks for mark in row), default=0.0)
    return max(1.5, math.ceil(4 * 1.05 * farthest) / 4)
