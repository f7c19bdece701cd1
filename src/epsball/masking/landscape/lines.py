"""One-dimensional slices: the model along one direction, and what the gradient at x predicts there."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from epsball.errors import NoGradientError
from epsball.masking.geometry import Expansion, expansion
from epsball.masking.geometry.surface import FunctionName
from epsball.masking.landscape.plane import Plane
from epsball.masking.landscape.subject import Subject
from epsball.masking.landscape.sweep import Sweep

FINER = 4
"""Points on a line per point on an axis of the plane."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """The model at x + e v, v as long as the radius.

    Parameters
    ----------
    e
        Coordinates in radii (m,).
    margin, loss, predicted
        The model's answers (m,).
    end
        Coordinate of the point to which the direction leads.
    inside
        The least and largest e with x + e v in N(x).
    slope, bend
        First and second-order terms of eq. (3) at e = 1, by function: f(x + e v) is about
        f(x) + slope e + bend e^2. NaN where the model passes no gradient.
    """

    e: Float64[Tensor, " m"]
    margin: Float64[Tensor, " m"]
    loss: Float64[Tensor, " m"]
    predicted: Int64[Tensor, " m"]
    end: float
    inside: tuple[float, float]
    slope: dict[FunctionName, float]
    bend: dict[FunctionName, float]


def lines(sweep: Sweep, subject: Subject, span: Plane, axis: Float64[Tensor, " k"]) -> list[tuple[Line, Line]]:
    """Return the slices of each example along both directions, as they were before the second was made orthogonal."""
    half = FINER * (len(axis) // 2)
    e = torch.arange(-half, half + 1, dtype=torch.float64) * (float(axis[-1]) / half)
    first, second = (
        [_line(sweep, subject, v, i, e, float(span.ends[i, k])) for i in range(len(subject))]
        for k, v in enumerate(span.lines)
    )
    for ways, v in ((first, span.lines[0]), (second, span.lines[1])):
        for function, terms in _expansions(subject, v).items():
            for i, line in enumerate(ways):
                line.slope[function], line.bend[function] = float(terms.first[i]), float(terms.second[i])
    return list(zip(first, second, strict=True))


def _line(
    sweep: Sweep, subject: Subject, v: Float[Tensor, "n *shape"], i: int, e: Float64[Tensor, " m"], end: float
) -> Line:
    heights = sweep.heights(i, (v[i], torch.zeros_like(v[i])), e, torch.zeros(1, dtype=torch.float64))
    return Line(
        e=e,
        margin=heights.margin,
        loss=heights.loss,
        predicted=heights.predicted,
        end=end,
        inside=_inside(subject, v[i], i),
        slope={},
        bend={},
    )


def _inside(subject: Subject, v: Float[Tensor, " *shape"], i: int) -> tuple[float, float]:
    """Return the ends of the line in ball and box; v is as long as the radius."""
    x, v = subject.x[i].double().flatten(), v.double().flatten()
    ball, ends = subject.ball, []
    for sign in (-1.0, 1.0):
        room = torch.full_like(v, torch.inf)
        if ball.low is not None and ball.high is not None:
            room = torch.where(sign * v > 0, ball.high - x, x - ball.low)
        reach = (room / v.abs())[v != 0]
        ends.append(sign * min(1.0, float(reach.min())))
    return ends[0], ends[1]


def _expansions(subject: Subject, v: Float[Tensor, "n *shape"]) -> dict[FunctionName, Expansion]:
    points = subject.x + v
    try:
        return {
            "margin": expansion(subject.margin, points),
            "cross-entropy": expansion(subject.cross_entropy, points),
        }
    except NoGradientError:
        unknown = torch.full((len(subject),), torch.nan, dtype=torch.float64)
        nothing = Expansion(change=unknown, first=unknown, second=unknown)
        return {"margin": nothing, "cross-entropy": nothing}
