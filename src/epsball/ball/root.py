"""The root of many increasing functions at once."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

_LIMIT = 64


def solve(
    evaluate: Callable[[Tensor], tuple[Tensor, Tensor]],
    high: Float[Tensor, "n 1"],
    value_at_high: Float[Tensor, "n 1"],
    target: Float[Tensor, "n 1"],
    tolerance: float,
) -> tuple[Tensor, Tensor]:
    """Return what `evaluate` gives where its value meets `target`, row by row, on [0, high].

    Each row's function f is increasing with f(0) = 0 <= target <= f(high). The method is regula falsi
    with Anderson and Bjorck's rule: the chord between a retained end a and the latest point b gives
    the next point; where that falls on b's side, the residual at a is scaled by m = 1 - g/g_b
    (by 1/2 where m <= 0). It stays within the bracket and is fast on the piecewise linear functions
    it serves.

    Parameters
    ----------
    evaluate
        From parameters (n, 1) to a pair: any tensor, and the values f (n, 1).
    high, value_at_high, target
        As above, float64.
    tolerance
        A row stays where abs(f - target) <= tolerance * target or f is NaN; all stop after 64 steps.
        Callers are sound wherever that is.

    References
    ----------
    Anderson and Bjorck, "A new high order method of regula falsi type for computing a root of an
    equation", BIT 13 (1973).
    """
    a, g_a = torch.zeros_like(high), -target
    b, g_b = high, value_at_high - target
    enough = tolerance * target
    t = _chord(a, g_a, b, g_b)
    found, value = evaluate(t)
    for _ in range(_LIMIT):
        g = value - target
        unmet = g.abs() > enough
        if not bool(unmet.any()):
            break
        crossed = g * g_b < 0
        m = 1 - g / g_b
        a = torch.where(crossed, b, a)
        g_a = torch.where(crossed, g_b, g_a * torch.where(m > 0, m, 0.5))
        b, g_b = t, g
        t = torch.where(unmet, _chord(a, g_a, b, g_b), t)
        found, value = evaluate(t)
    return found, value


def _chord(a: Tensor, g_a: Tensor, b: Tensor, g_b: Tensor) -> Tensor:
    """Return where the chord through (a, g_a) and (b, g_b) meets zero; 0 where both residuals are 0."""
    span = g_b - g_a
    return (a * g_b - b * g_a) / torch.where(span == 0, 1.0, span)
