"""Subproblems of a search, what bounds them, and the schedule of an ascent."""

from typing import NamedTuple

from torch import Tensor

from epsball.certificates.branching.relaxation.matrices import Matrix


class Parts(NamedTuple):
    """Subproblems: by row of a batch which function is bounded, and its multipliers.

    Parameters
    ----------
    rows
        The number of the function of each, (b,).
    states
        (b, m) over the rectifiers of all layers: 0 free, 1 on, -1 off; 2 and -2 where it follows from a split beside.
    slopes, multipliers
        alpha and beta, (b, m). Where A is negative and there are envelopes alpha does not matter, and the same number
        is rho, the envelope's share.
    """

    rows: Tensor
    states: Tensor
    slopes: Tensor
    multipliers: Tensor

    def take(self, at: Tensor | slice) -> "Parts":
        """Return some of the subproblems."""
        return Parts(*(part[at] for part in self))


class Envelope(NamedTuple):
    """Functions g . x + h above a layer's rectifiers over the whole domain, (m, d) and (m,)."""

    g: Matrix
    h: Tensor


class Bound(NamedTuple):
    """Bounds of subproblems, and what is known where they are attained.

    Parameters
    ----------
    value
        (b,).
    coefficients
        A on each rectifier, (b, m).
    point
        Where the relaxation is least, (b, d).
    """

    value: Tensor
    coefficients: Tensor
    point: Tensor


class Schedule(NamedTuple):
    """Steps of an ascent: their number, the first step of slopes and of multipliers, and the decay of both."""

    steps: int
    slope_step: float
    multiplier_step: float = 0.0
    decay: float = 0.9
