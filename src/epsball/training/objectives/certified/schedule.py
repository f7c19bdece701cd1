"""How radius and weights change while the radius rises."""

from typing import Literal

RampName = Literal["linear", "smooth"]
"""How the radius rises: linearly, or first as a power of 4 and then linearly."""

_MIDDLE, _POWER = 0.25, 4.0


def radius_share(progress: float, ramp: RampName, hold: float) -> float:
    """Return the share of the radius in force.

    ``smooth``: the radius grows like t^4 over the first quarter of the ramp and linearly, with the same slope where the
    two meet, over the rest.

    Parameters
    ----------
    progress
        How much of the warm-up is over, in [0, 1].
    ramp
        The shape of the rise.
    hold
        Share of the warm-up in which the radius stays 0.

    References
    ----------
    Xu et al., "Automatic perturbation analysis for scalable certified robustness and beyond" (NeurIPS 2020), appendix
    C.1, for the smooth rise.

    Examples
    --------
    >>> radius_share(0.5, "linear", 0.0), radius_share(0.5, "linear", 0.5), radius_share(1.0, "smooth", 0.2)
    (0.5, 0.0, 1.0)
    """
    t = max(0.0, (progress - hold) / (1.0 - hold))
    if ramp == "linear" or t >= 1.0:
        return t
    # a m^p at the end of the first part, with slope p a m^(p - 1) = (1 - a m^p) / (1 - m) there.
    a = 1.0 / (_MIDDLE**_POWER + (1.0 - _MIDDLE) * _POWER * _MIDDLE ** (_POWER - 1.0))
    middle = a * _MIDDLE**_POWER
    return a * t**_POWER if t < _MIDDLE else middle + (1.0 - middle) * (t - _MIDDLE) / (1.0 - _MIDDLE)


def between(start: float, end: float, progress: float) -> float:
    """Return the number that moves linearly from `start` to `end` while `progress` goes from 0 to 1.

    Examples
    --------
    >>> between(1.0, 0.5, 0.5)
    0.75
    """
    return start + (end - start) * progress
