"""Per class what is right, stands and is certified, the worst class first."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from epsball.auditing.reading.run import Reading
from epsball.statistics import Interval, clopper_pearson

_SAID = 40
"""Letters of a name in a sentence, at most."""


@dataclass(frozen=True, kw_only=True)
class ClassNumbers:
    """One class of the data.

    Parameters
    ----------
    label, name
        Its number and its name.
    total, right, standing, certified
        Number of its examples, of those right, of those without a known error in their ball, of those certified;
        `certified` is None where the run has no certificates.
    interval
        Exact 95% interval of the share that stands.
    taken_for
        As what most of its witnesses are classified, and how many; None where that is not recorded.
    """

    label: int
    name: str
    total: int
    right: int
    standing: int
    certified: int | None
    interval: Interval
    taken_for: tuple[str, int] | None = None

    @property
    def said(self) -> str:
        """Its name in a sentence."""
        return f"class {self.name}" if self.name.isdecimal() else self.brief

    @property
    def brief(self) -> str:
        """Its name, cut to what a sentence has room for."""
        return shortened(self.name, _SAID)

    @property
    def share(self) -> float:
        """The share that stands."""
        return self.standing / self.total


def shortened(name: str, most: int) -> str:
    """Return a name of at most so many letters: of a longer one both ends.

    Examples
    --------
    >>> shortened("a class of many words, number 7", 16)
    'a class…number 7'
    """
    if len(name) <= most:
        return name
    tail = most // 2
    return f"{name[: most - tail - 1]}…{name[-tail:]}"


def class_numbers(reading: Reading) -> list[ClassNumbers]:
    """Return the classes that have examples, the one whose upper end of what stands is lowest first.

    By the upper end of the interval, not by the share: of a class with one example nothing is known.
    """
    label, verdict = reading.column("label"), reading.verdict
    names, taken = reading.class_names, _taken_for(reading)
    certificates = "certificate.certified" in reading.table.column_names
    found = []
    for value in np.unique(label).tolist():
        here = verdict[label == value]
        total, stand = len(here), int((~np.isin(here, ("misclassified", "broken"))).sum())
        found.append(
            ClassNumbers(
                label=value,
                name=names[value] if 0 <= value < len(names) else str(value),
                total=total,
                right=int((here != "misclassified").sum()),
                standing=stand,
                certified=int((here == "certified").sum()) if certificates else None,
                interval=clopper_pearson(stand, total),
                taken_for=taken.get(value),
            )
        )
    return sorted(found, key=lambda numbers: (numbers.interval.high, numbers.share, numbers.label))


def _taken_for(reading: Reading) -> dict[int, tuple[str, int]]:
    """Return per class as what most of its witnesses are classified."""
    index, prediction = (reading.shown.get(f"witness.{name}") for name in ("index", "prediction"))
    if index is None or prediction is None:
        return {}
    label = dict(zip(reading.column("index").tolist(), reading.column("label").tolist(), strict=True))
    counts: dict[int, Counter[int]] = {}
    for position, value in zip(index.tolist(), prediction.tolist(), strict=True):
        if position in label:
            counts.setdefault(label[position], Counter())[value] += 1
    names = reading.class_names
    most = {value: counter.most_common(1)[0] for value, counter in counts.items()}
    return {value: (names[k] if 0 <= k < len(names) else str(k), count) for value, (k, count) in most.items()}
