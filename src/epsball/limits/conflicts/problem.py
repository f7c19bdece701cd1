"""The problem that the solver is given: a sample and its conflicts, found once; and the memory they take."""

import math
import os
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from epsball.ball import NormName
from epsball.errors import InputError
from epsball.limits.conflicts.graph import Conflicts, Meets, conflicts
from epsball.limits.conflicts.representable import with_representable_levels
from epsball.limits.conflicts.sample import Sample, part_of
from epsball.progress import listening, report

_TRIAL = 1000
_EDGE, _EDGE_BOTH_WAYS = 8, 48
_NODE = 96
_TILES = 96 * 2**20


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A labelled sample and the pairs of it that no classifier can keep together.

    Parameters
    ----------
    sample
        The sample.
    exact
        Its conflicts, in the data's own integers: balls that just touch conflict.
    representable
        Its conflicts with a verified common point among floats; `exact` itself where both agree.
    joint_norm
        The norm that tells which larger sets of balls share a point; None: a caller's rule of
        intersection, which does not, so that only pairs count.
    """

    sample: Sample
    exact: Conflicts
    representable: Conflicts
    joint_norm: NormName | None

    @property
    def readings(self) -> tuple[Conflicts, ...]:
        """The conflicts in each reading of ties: exact, then representable where it differs."""
        return (self.exact,) if self.representable is self.exact else (self.exact, self.representable)

    @property
    def radii(self) -> tuple[Fraction, ...]:
        """The grid of radii; the conflicts' levels are positions in it."""
        return self.exact.radii


def problem(data: Sample, norm: NormName, radii: tuple[Fraction, ...], meets: Meets | None = None) -> Problem:
    """Return the conflicts of a sample at each radius, in both readings of ties."""
    exact = conflicts(data, norm, radii, meets)
    representable = with_representable_levels(exact, data, norm)
    return Problem(sample=data, exact=exact, representable=representable, joint_norm=None if meets else norm)


def estimated_memory(data: Sample, norm: NormName, radii: tuple[Fraction, ...], meets: Meets | None) -> int:
    """Return about how many bytes the limit of a sample will take besides the data.

    The number of conflicts at the largest radius is extrapolated from that among at most 1,000
    examples spread over the classes; an edge takes 8 bytes for two classes and 48 for more.
    """
    part = part_of(data, np.unique(np.linspace(0, len(data) - 1, _TRIAL).astype(np.int64)))
    with listening(_silent):  # the trial is not progress
        found = len(conflicts(part, norm, radii[-1:], meets)) if len(part.classes) > 1 else 0
    edges = found * (len(data) / len(part)) ** 2
    return int(edges * (_EDGE if len(data.classes) == 2 else _EDGE_BOTH_WAYS) + _NODE * len(data)) + _TILES


def _silent(what: str, done: int, total: int) -> None:
    del what, done, total


def check_memory(
    data: Sample, norm: NormName, radii: tuple[Fraction, ...], meets: Meets | None, limit: int | None
) -> None:
    """Report the estimate to whoever listens; raise `InputError` if it exceeds `limit` (default: all memory)."""
    needed = estimated_memory(data, norm, radii, meets)
    report(f"{len(data)} examples, about {needed / 2**20:.0f} MiB beside the data", 0, len(data))
    most = _installed() if limit is None else float(limit)
    if needed > most:
        raise InputError(
            f"the conflicts of {len(data)} examples up to radius {float(radii[-1]):g} take about "
            f"{needed / 2**20:.0f} MiB, more than the limit of {most / 2**20:.0f} MiB; "
            "use smaller radii or fewer examples, or raise max_memory."
        )


def _installed() -> float:
    """Return the bytes of memory that this machine has, infinity where it does not tell."""
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in names or "SC_PAGE_SIZE" not in names:
        return math.inf
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
