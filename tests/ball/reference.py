"""The ball in fractions, slow but certain, and the cases on which the laws are tested."""

from fractions import Fraction

import torch
from hypothesis import strategies as st
from torch import Tensor

from epsball.ball import Ball

NORMS = ("linf", "l2", "l1")
DTYPES = (torch.float32, torch.float64)


def within(a: Tensor, b: Tensor, norm: str, radius: Fraction) -> bool:
    """Return whether norm(a - b) <= radius for two vectors of finite floats."""
    gaps = [abs(Fraction(u) - Fraction(v)) for u, v in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True)]
    if norm == "linf":
        return max(gaps) <= radius
    power = int(norm[1])
    return sum(gap**power for gap in gaps) <= radius**power


def contained(ball: Ball, point: Tensor, centre: Tensor) -> bool:
    """Return whether a vector lies in ball and box."""
    in_box = ball.low is None or ball.high is None or bool(((point >= ball.low) & (point <= ball.high)).all())
    return in_box and within(point, centre, ball.norm, ball.radius)


def box_of(boxed: bool) -> dict[str, float | None]:
    """Return the ends of the box [0, 1], or None for both."""
    return {"low": 0.0, "high": 1.0} if boxed else {"low": None, "high": None}


def vectors(d: int, dtype: torch.dtype, low: float, high: float) -> st.SearchStrategy[Tensor]:
    """Return vectors (1, d) of floats of `dtype` in [low, high], often on the ends."""
    width = 32 if dtype == torch.float32 else 64
    numbers = st.floats(low, high, width=width) | st.sampled_from((low, high))
    return st.lists(numbers, min_size=d, max_size=d).map(lambda values: torch.tensor([values], dtype=dtype))


RADII = st.sampled_from((0, "8/255", "0.1", "1/3", "0.5", "1e-9", "1e-30", 1, "7/4")) | st.fractions(
    0, 1, max_denominator=999
)


@st.composite
def cases(draw: st.DrawFn, reach: float = 3.0) -> tuple[Ball, Tensor, Tensor]:
    """Return a ball, points (1, d) and centres (1, d) in its box."""
    dtype, boxed, d = draw(st.sampled_from(DTYPES)), draw(st.booleans()), draw(st.integers(1, 6))
    ball = Ball(draw(st.sampled_from(NORMS)), draw(RADII), **box_of(boxed))
    centres = draw(vectors(d, dtype, 0.0, 1.0) if boxed else vectors(d, dtype, -reach, reach))
    return ball, draw(vectors(d, dtype, -reach, reach)), centres
