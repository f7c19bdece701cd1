"""What a run adds up to, for its readers: the chain, the risks, the classes, the cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from epsball.auditing.chain import ATTACK, CERTIFIED, LIMIT, NATURAL
from epsball.auditing.evidence import VERDICTS, accuracy_under_attack, flags
from epsball.auditing.reading.classes import ClassNumbers, class_numbers
from epsball.auditing.reading.costs import Cost, costs
from epsball.auditing.reading.methods import MethodNumbers, method_numbers
from epsball.auditing.reading.run import Reading
from epsball.masking.diagnosis import Diagnosis
from epsball.risk import RiskDecomposition, decompose, natural_accuracy
from epsball.statistics import Bound, Interval, clopper_pearson

ROBUST = "robust accuracy"


@dataclass(frozen=True, kw_only=True)
class Place:
    """One place of the chain.

    Parameters
    ----------
    name
        Its name.
    low, high
        What is known of it on these examples: one number, or both ends. None where it was not measured.
    interval
        A 95% interval for the source of the examples, where there is one.
    missing
        Why it was not measured.
    """

    name: str
    low: float | None = None
    high: float | None = None
    interval: Interval | None = None
    missing: str | None = None

    @property
    def measured(self) -> bool:
        """Whether there is a number."""
        return self.low is not None


@dataclass(frozen=True, kw_only=True, eq=False)
class Summary:
    """What a run adds up to.

    Parameters
    ----------
    reading
        The run.
    total
        Number of examples in the evidence.
    verdicts
        Number of examples by verdict, every verdict named.
    places
        The chain from the lower end to the upper one, and the limit of the data.
    risks
        Natural, boundary and robust risk; None where there is no example.
    classes
        Per class, the worst first.
    methods
        Per certificate method.
    costs
        Passes per attack and overhead.
    diagnosis
        Whether accuracy under attack can be trusted, where that was looked into.
    hard
        Number of examples that every classifier keeps, some keep, none keeps; None where not measured.
    """

    reading: Reading
    total: int
    verdicts: Mapping[str, int]
    places: Sequence[Place]
    risks: RiskDecomposition | None
    classes: Sequence[ClassNumbers]
    methods: Sequence[MethodNumbers]
    costs: Sequence[Cost]
    diagnosis: Diagnosis | None
    hard: Mapping[str, int] | None

    def place(self, name: str) -> Place:
        """Return a place by its name."""
        return next(place for place in self.places if place.name == name)

    @property
    def ball(self) -> str:
        """The perturbation set, as text."""
        return str(self.reading.identity["ball"])

    def audit_command(self, options: str, suffix: str) -> str:
        """Return the command of an audit of the same with other options, in a folder beside this one."""
        reading = self.reading
        return f"epsball audit {reading.subject} --ball {self.ball} {options} --out {reading.beside(suffix)}"


def summary(reading: Reading) -> Summary:
    """Return what a run adds up to; all numbers are of the library's own functions, on its evidence."""
    count = len(reading.table)
    verdict = reading.verdict
    return Summary(
        reading=reading,
        total=count,
        verdicts={name: int((verdict == name).sum()) for name in VERDICTS},
        places=_places(reading),
        risks=_risks(reading) if count else None,
        classes=class_numbers(reading),
        methods=method_numbers(reading),
        costs=costs(reading),
        diagnosis=_diagnosis(reading.diagnosis),
        hard=_hard(reading),
    )


def standing(reading: Reading) -> np.ndarray:
    """Return which examples have no known error in their ball: the upper end of what is robust."""
    return ~np.isin(reading.verdict, ("misclassified", "broken"))


def _columns(reading: Reading) -> dict[str, torch.Tensor]:
    """Return the boolean columns that the chain stands on; those that an older run lacks are false."""
    found = flags(reading.table)
    names = ("natural.correct", "natural.failed", "attack.broken")
    return {**{name: torch.from_numpy(reading.flag(name).copy()) for name in names}, **found}


def _places(reading: Reading) -> list[Place]:
    """Return the chain; what was not measured has its reason."""
    places = reading.chain.get("places", {})
    if not len(reading.table):
        names = (CERTIFIED, ROBUST, ATTACK, NATURAL, LIMIT)
        return [Place(name=name, missing="no example is finished") for name in names]
    columns = _columns(reading)
    risks = _risks(reading)
    robust = risks.robust
    uncertified = reading.chain.get("without certificates because") or "not made in this run"
    certified = columns.get("certificate.certified")
    limit = places.get(LIMIT)
    return [
        Place(name=CERTIFIED, missing=uncertified) if certified is None else _place(CERTIFIED, _share(certified)),
        Place(name=ROBUST, low=1.0 - robust.high, high=1.0 - robust.low, interval=robust.interval.complement()),
        _place(ATTACK, accuracy_under_attack(columns))
        if "attack.broken" in reading.table.column_names
        else Place(name=ATTACK, missing="no attack in this run"),
        _place(NATURAL, natural_accuracy(columns["natural.correct"], columns["natural.failed"])),
        Place(name=LIMIT, missing="the limit was not computed in this run")
        if limit is None
        else _place(LIMIT, _bound(limit)),
    ]


def _share(column: torch.Tensor) -> Bound:
    count, n = int(column.sum()), len(column)
    return Bound(value=count / n, interval=clopper_pearson(count, n), scope="distribution")


def _place(name: str, bound: Bound) -> Place:
    return Place(name=name, low=bound.value, high=bound.value, interval=bound.interval)


def _bound(document: Mapping[str, Any]) -> Bound:
    """Return a bound as ``chain.json`` has it."""
    ends = document.get("interval")
    return Bound(value=document["value"], interval=None if ends is None else Interval(ends["low"], ends["high"]))


def _risks(reading: Reading) -> RiskDecomposition:
    columns = _columns(reading)
    broken = torch.from_numpy(reading.verdict == "broken")
    certified = columns.get("certificate.certified")
    certified = None if certified is None else certified & ~broken
    return decompose(columns["natural.correct"], broken, certified, columns["natural.failed"])


def _diagnosis(document: Mapping[str, Any] | None) -> Diagnosis | None:
    try:
        return None if document is None else Diagnosis.from_json(document)
    except (KeyError, TypeError, ValueError):
        return None


def _hard(reading: Reading) -> dict[str, int] | None:
    if "limit.hard" not in reading.table.column_names:
        return None
    column = reading.column("limit.hard")
    return {name: int((column == name).sum()) for name in ("safe", "either", "given up")}
