"""`solve`: the roots of many increasing functions at once."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

_LIMIT = 64
_TINY = 1e-300


def solve(
    evaluate: Callable[[Tensor], tuple[Tensor, Tensor]],
    high: Float[Tensor, "n 1"],
    value_at_high: Float[Tensor, "n 1"],
    target: Float[Tensor, "n 1"],
    tolerance: float,
) -> tuple[Tensor, Tensor]:
    """Return what `evaluate` gives at the point of [0, high] where its value meets `target`, row by row.

    Each row's function f is increasing with f(0) = 0 <= target <= f(high). The method is regula falsi
    with Anderson and Bjorck's rule: the chord between a retained end a and the latest point b gives the
    next point; if that falls on b's side, the residual at a is multiplied by m = 1 - g / g_b (at least
    1/10). It stays within the bracket and is fast on piecewise linear functions.

    Parameters
    ----------
    evaluate
        Maps parameters (n, 1) to a pair: any tensor, and the values f (n, 1).
    high, value_at_high, target
        As above, float64.
    tolerance
        A row stops once abs(f - target) <= tolerance * target or f is NaN; all stop after 64 steps.
        Callers are sound wherever the solver stops.

    References
    ----------
    Anderson and Bjorck, "A new high order method of regula falsi type for computing a root of an
    equation", BIT 13 (1973).
    """
    enough = tolerance * target
    a, g_a = torch.zeros_like(high), -target
    b, g_b = high, value_at_high - target
    t = high * target / value_at_high.clamp(min=_TINY)
    found, value = evaluate(t)
    for _ in range(_LIMIT):
        g = value - target
        unmet = g.abs() > enough
        if not bool(unmet.any()):
            break
        crossed = g * g_b < 0
        m = (1 - g / g_b).clamp_(min=0.1)
        a, g_a = torch.where(crossed, b, a), torch.where(crossed, g_b, m.mul_(g_a))
        b, g_b = t, g
        t = torch.where(unmet, (a * g_b - b * g_a) / (g_b - g_a), t)
        found, value = evaluate(t)
    return found, value
