"""Certificates by method: on how many examples each ran, what it proved, and what certificates cost."""

from dataclasses import dataclass

import numpy as np

from epsball.auditing.reading.run import Reading

_PREFIX, _SUFFIX = "certificate.", ".margin"


@dataclass(frozen=True, kw_only=True)
class MethodNumbers:
    """One method of certificates.

    Parameters
    ----------
    name
        Its name.
    tried
        Examples it gave a bound of.
    proved
        Examples that its own bound certifies.
    best
        Certified examples whose certificate is its.
    passes
        Passes spent on the examples whose certificate, or last bound, is its.
    """

    name: str
    tried: int
    proved: int
    best: int
    passes: int


def method_numbers(reading: Reading) -> list[MethodNumbers]:
    """Return the methods that ran on any example, in the order of the evidence's columns."""
    names = [
        name[len(_PREFIX) : -len(_SUFFIX)]
        for name in reading.table.column_names
        if name.startswith(_PREFIX) and name.endswith(_SUFFIX) and len(name) > len(_PREFIX + _SUFFIX)
    ]
    method, passes = reading.column("certificate.method"), np.nan_to_num(reading.numbers("certificate.passes"))
    right, certified = reading.flag("natural.correct"), reading.flag("certificate.certified")
    own = [name for name in dict.fromkeys(method.tolist()) if name is not None and name not in names]
    found = []
    for name in [*names, *own]:
        bound = reading.numbers(f"{_PREFIX}{name}{_SUFFIX}" if name in names else "certificate.margin")
        here = method == name
        tried = int(np.isfinite(bound).sum()) if name in names else int(here.sum())
        if not tried:
            continue
        proved = int(((bound > 0) & right).sum()) if name in names else int((here & certified).sum())
        found.append(
            MethodNumbers(
                name=name,
                tried=tried,
                proved=proved,
                best=int((here & certified).sum()),
                passes=int(passes[here].sum()),
            )
        )
    return found
