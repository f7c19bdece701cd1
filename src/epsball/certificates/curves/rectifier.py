"""Lines around a rectifier: x above 0, a x below, with a slope a of any sign for each entry."""

import torch
from torch import Tensor

from epsball.certificates.curves.relaxation import Lines

_ROUNDING = 2.0**-49


def rectifier_lines(low: Tensor, high: Tensor, below: Tensor | float) -> Lines:
    """Return the chord and the supporting line of least area of max(x, a x) (a <= 1) or min(x, a x) (a > 1).

    Where the sign of x is known both lines are the function. Else one is the chord from (l, a l) to (u, u),
    its slope s of any rounding and its intercept moved outward until it holds at both ends, and the
    other passes through 0 with slope 1 or a, whichever encloses less.

    References
    ----------
    Zhang et al., "Efficient neural network robustness certification with general activation functions"
    (NeurIPS 2018): the adaptive choice of the lower slope.
    """
    below = torch.as_tensor(below, dtype=low.dtype, device=low.device).expand(low.shape)
    one, zero = torch.ones_like(low), torch.zeros_like(low)
    crossing = (low < 0) & (high > 0)
    known = torch.where(low >= 0, one, below)
    span = torch.where(crossing, high - low, one)
    chord = torch.where(crossing, (high - below * low) / span, known)
    at_low, at_high = (below - chord) * low, (1 - chord) * high
    doubt = _ROUNDING * ((below.abs() + chord.abs()) * low.abs() + (1 + chord.abs()) * high.abs()) + 2.0**-1060
    above = torch.where(crossing, torch.maximum(at_low, at_high) + doubt, zero)
    under = torch.where(crossing, torch.minimum(at_low, at_high) - doubt, zero)
    support = torch.where(crossing, torch.where(high > -low, one, below), known)
    convex = below <= 1
    return Lines(
        torch.where(convex, support, chord),
        torch.where(convex, zero, under),
        torch.where(convex, chord, support),
        torch.where(convex, above, zero),
    )
