"""How much memory an optimal risk takes, said before the work starts."""

import math
import os
from fractions import Fraction

import numpy as np

from epsball.errors import InputError
from epsball.limits.conflicts.graph import Meets, conflicts
from epsball.limits.conflicts.sample import Sample, part_of
from epsball.progress import listening, report

_TRIAL = 1000
_EDGE, _EDGE_BOTH_WAYS = 8, 48
_NODE = 96
_TILES = 96 * 2**20


def estimated_memory(data: Sample, norm: str, radii: tuple[Fraction, ...], meets: Meets | None) -> int:
    """Return about how many bytes the limit of a sample will take beside the data.

    The number of conflicts at the largest radius is extrapolated from that of at most 1,000 examples
    spread over the classes; an edge takes 8 bytes for two classes and 48 for more.
    """
    part = part_of(data, np.unique(np.linspace(0, len(data) - 1, _TRIAL).astype(np.int64)))
    with listening(_silent):  # the trial is no progress
        found = len(conflicts(part, norm, radii[-1:], meets)) if len(part.classes) > 1 else 0
    edges = found * (len(data) / len(part)) ** 2
    return int(edges * (_EDGE if len(data.classes) == 2 else _EDGE_BOTH_WAYS) + _NODE * len(data)) + _TILES


def _silent(what: str, done: int, total: int) -> None:
    del what, done, total


def check_memory(data: Sample, norm: str, radii: tuple[Fraction, ...], meets: Meets | None, limit: int | None) -> None:
    """Report the estimate to whoever listens; raise `InputError` if it exceeds `limit`, or the machine."""
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
    """Return the bytes of memory that this machine has, infinity where it does not say."""
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in names or "SC_PAGE_SIZE" not in names:
        return math.inf
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
