"""Which examples a page shows in pictures."""

from collections.abc import Sequence

import numpy as np

from epsball.auditing.evidence import VERDICTS
from epsball.auditing.reading.run import Reading
from epsball.auditing.showing import PER_VERDICT

MOST = 400
"""Examples in pictures, at most."""

RULE = (
    f"pictures of at most {MOST} examples: those asked for, those newly broken, the {PER_VERDICT} of the worst margins "
    "of each verdict, then the broken ones of the worst margins"
)


def worst_margin(reading: Reading) -> np.ndarray:
    """Return the least known margin of each example in its ball; for a certified one the bound; NaN where unknown."""
    names = ("natural.margin", "attack.margin", "diagnosis.margin")
    least = np.fmin.reduce([reading.numbers(name) for name in names]) if len(reading.table) else np.zeros(0)
    bound = reading.numbers("certificate.margin")
    return np.where((reading.verdict == "certified") & np.isfinite(bound), bound, least)


def shown_in_pictures(reading: Reading, asked: Sequence[int] = (), flipped: Sequence[int] = ()) -> list[int]:
    """Return the positions of the examples by the rule, in the order in which they are kept."""
    index, verdict, margin = reading.column("index"), reading.verdict, worst_margin(reading)
    order = np.argsort(margin, kind="stable")
    positions, verdicts = index[order], verdict[order]
    first = [position for name in VERDICTS for position in positions[verdicts == name][:PER_VERDICT].tolist()]
    broken = positions[verdicts == "broken"].tolist()
    return list(dict.fromkeys([*asked, *flipped, *first, *broken]))[: max(MOST, len(asked))]
