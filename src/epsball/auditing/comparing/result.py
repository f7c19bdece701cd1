"""What `compare` returns: per pair and place of the chain the difference, its interval and its p-value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from epsball.auditing.comparing.recorded import RecordedRun
from epsball.paired import Discordance
from epsball.results import Result, arrow_table, jsonable, text_table
from epsball.statistics import Interval

if TYPE_CHECKING:
    import pyarrow

LEAST, MOST = "robust accuracy, at least", "robust accuracy, at most"
"""Lower end of the first network's minus upper end of the second's, and upper end minus lower end."""

SEEDS = 4
"""Runs that a method needs for a statement about it: of two with fewer no order of the runs has a small probability."""

ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Two networks at one place of the chain.

    Parameters
    ----------
    a, b
        Their names.
    place
        The place; `LEAST` and `MOST` stand for robust accuracy, of which only both ends are known.
    discordance
        On which examples they differ.
    adjusted
        The p-value, adjusted over places and pairs.
    alike
        Whether both were measured alike at this place: by the same attack, or by the same certificates.

    Examples
    --------
    >>> found = Difference(a="a", b="b", place="natural accuracy", adjusted=0.001,
    ...     discordance=Discordance(only_a=15, only_b=1, total=100))
    >>> found.better, round(found.value, 2)
    ('a', 0.14)
    """

    a: str
    b: str
    place: str
    discordance: Discordance
    adjusted: float
    alike: bool = True

    @property
    def value(self) -> float:
        """The first share minus the second."""
        return self.discordance.difference

    @property
    def interval(self) -> Interval:
        """A 95% interval for the source of the examples."""
        return self.discordance.interval()

    @property
    def better(self) -> str | None:
        """The network that is better at this place, or None.

        At robust accuracy only where both ends say so; elsewhere only where both were measured alike: an accuracy
        under a weaker attack is higher, and no better.
        """
        return None if not self.alike else _better(self.a, self.b, self.place, self.value, self.adjusted)


@dataclass(frozen=True, kw_only=True)
class MethodDifference:
    """Two methods at one place of the chain.

    Parameters
    ----------
    a, b
        Their names.
    place
        The place, as of `Difference`.
    values_a, values_b
        The share of each run.
    p, adjusted
        The exact two-sided p-value over all assignments of the runs, and adjusted over the pairs of methods; None
        where a method has fewer than `SEEDS` runs.
    alike
        Whether all runs were measured alike at this place.

    Examples
    --------
    >>> shares = {"values_a": (0.9,), "values_b": (0.8,)}
    >>> found = MethodDifference(a="a", b="b", place="natural accuracy", p=None, adjusted=None, **shares)
    >>> round(found.value, 2), found.better
    (0.1, None)
    """

    a: str
    b: str
    place: str
    values_a: tuple[float, ...]
    values_b: tuple[float, ...]
    p: float | None
    adjusted: float | None
    alike: bool = True

    @property
    def value(self) -> float:
        """The mean of the first minus that of the second."""
        return float(np.mean(self.values_a) - np.mean(self.values_b))

    @property
    def better(self) -> str | None:
        """The method that is better at this place, or None."""
        return (
            None
            if self.adjusted is None or not self.alike
            else _better(self.a, self.b, self.place, self.value, self.adjusted)
        )


def _better(a: str, b: str, place: str, value: float, p: float) -> str | None:
    if p > ALPHA or value == 0 or (place == LEAST and value < 0) or (place == MOST and value > 0):
        return None
    return a if value > 0 else b


@dataclass(frozen=True, kw_only=True)
class Changed:
    """Examples by which a network differs from another one.

    Parameters
    ----------
    a, b
        Their names: what is new, is new in `b`.
    newly_broken
        Positions in the source that stand in `a`, right and without a witness, and do not in `b`.
    newly_certified
        Positions that are certified in `b` and not in `a`.
    """

    a: str
    b: str
    newly_broken: tuple[int, ...]
    newly_certified: tuple[int, ...]

    def __str__(self) -> str:
        broken, certified = self.newly_broken, self.newly_certified
        return (
            f"from {self.a} to {self.b}: {len(broken)} newly broken{_first(broken)}, {len(certified)} newly "
            f"certified{_first(certified)}"
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Comparison(Result):
    """Networks or methods, compared on one data set within one ball.

    Parameters
    ----------
    runs
        What was compared.
    differences
        Per pair of networks and place of the chain.
    methods
        Per pair of methods and place of the chain, where methods were compared.
    groups
        Names of the runs of each method.
    notes
        In what the audits differ.
    """

    runs: tuple[RecordedRun, ...]
    differences: tuple[Difference, ...] = ()
    methods: tuple[MethodDifference, ...] = ()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def changed(self) -> tuple[Changed, ...]:
        """Which examples are newly broken and newly certified, from each network to each later one."""
        return tuple(_changed(a, b) for a, b in combinations(self.runs, 2))

    def examples(self) -> "pyarrow.Table":
        """Return the examples on which verdicts differ: position, label, and the verdict of each run."""
        verdicts = {f"verdict.{run.name}": run.table["verdict"].to_pylist() for run in self.runs}
        rows = [row for row, of_row in enumerate(zip(*verdicts.values(), strict=True)) if len(set(of_row)) > 1]
        first = self.runs[0].table.select(["index", "label"]).take(rows)
        for name, values in verdicts.items():
            first = first.append_column(name, [[values[row] for row in rows]])
        return first

    def __str__(self) -> str:
        body = self._of_methods() if self.methods else self._of_networks()
        total, ball = len(self.runs[0].table), self.runs[0].identity["ball"]
        return "\n".join([f"{total} examples within {ball}", *body, *self.notes])

    def _of_networks(self) -> list[str]:
        rows = [
            (d.a, d.b, d.place, d.value, str(d.interval), *_counts(d.discordance), d.adjusted, d.better or "-")
            for d in self.differences
        ]
        header = ("A", "B", "place", "A - B", "95% interval", "only A", "only B", "p (Holm)", "better")
        return [
            text_table(header, rows),
            *map(_robust_sentence, _by_pair(self.differences)),
            *map(str, self.changed),
            "these are statements about these networks, not about the methods that made them",
        ]

    def _of_methods(self) -> list[str]:
        rows = [
            (m.a, m.b, m.place, _mean(m.values_a), _mean(m.values_b), m.value, m.p, m.adjusted, m.better or "-")
            for m in self.methods
        ]
        header = ("A", "B", "place", "mean A", "mean B", "A - B", "p", "p (Holm)", "better")
        return [text_table(header, rows), *map(_robust_sentence, _by_pair(self.methods)), self._of_seeds()]

    def _of_seeds(self) -> str:
        counts = ", ".join(f"{name}: {len(names)}" for name, names in self.groups.items())
        few = ", ".join(name for name, names in self.groups.items() if len(names) < SEEDS)
        if few:
            return (
                f"runs: {counts}. Nothing is said about a method of fewer than {SEEDS} seeds ({few}): what is printed "
                "of it is about these networks."
            )
        return f"runs: {counts}; exact permutation tests over them, adjusted over pairs of methods"

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row per pair and place."""
        if self.methods:
            found: Sequence[Any] = self.methods
            own = {"p": [np.nan if m.p is None else m.p for m in self.methods]}
        else:
            found = self.differences
            own = {
                "low": [d.interval.low for d in self.differences],
                "high": [d.interval.high for d in self.differences],
                "only_a": [d.discordance.only_a for d in self.differences],
                "only_b": [d.discordance.only_b for d in self.differences],
                "p": [d.discordance.p for d in self.differences],
            }
        shared = {
            "a": [d.a for d in found],
            "b": [d.b for d in found],
            "place": [d.place for d in found],
            "difference": [d.value for d in found],
        }
        adjusted = {"adjusted": np.array([np.nan if d.adjusted is None else d.adjusted for d in found])}
        own = {name: np.array(values) for name, values in own.items()}
        last = {"alike": np.array([d.alike for d in found]), "better": [d.better for d in found]}
        return arrow_table(shared | own | adjusted | last)

    def to_json(self) -> dict[str, Any]:
        """Return the comparison made of JSON's types."""
        document = {
            "runs": [{"name": run.name, "path": run.path, "network": run.identity.get("network")} for run in self.runs],
            "ball": self.runs[0].identity["ball"],
            "examples": len(self.runs[0].table),
            "rows": self.to_arrow().to_pylist(),
            "groups": self.groups,
            "notes": self.notes,
        }
        return jsonable(document | ({} if self.methods else {"changed": self.changed}))


def _changed(a: RecordedRun, b: RecordedRun) -> Changed:
    index = a.table["index"].to_numpy()
    nothing = np.zeros(len(index), dtype=bool)
    certified = [nothing if run.certified is None else run.certified for run in (a, b)]
    return Changed(
        a=a.name,
        b=b.name,
        newly_broken=tuple(index[a.under_attack & ~b.under_attack].tolist()),
        newly_certified=tuple(index[~certified[0] & certified[1]].tolist()),
    )


def _first(positions: Sequence[int], most: int = 10) -> str:
    """Return the first positions in brackets."""
    shown = ", ".join(map(str, positions[:most])) + (", ..." if len(positions) > most else "")
    return f" ({shown})" if positions else ""


def _counts(discordance: Discordance) -> tuple[int, int]:
    return discordance.only_a, discordance.only_b


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _by_pair(found: Sequence[Any]) -> list[list[Any]]:
    """Return the differences of each pair."""
    pairs = dict.fromkeys((d.a, d.b) for d in found)
    return [[d for d in found if (d.a, d.b) == pair] for pair in pairs]


def _robust_sentence(pair: Sequence[Any]) -> str:
    """Return what is known of two robust accuracies in one sentence."""
    a, b = pair[0].a, pair[0].b
    ends = {d.place: d for d in pair if d.place in (LEAST, MOST)}
    if not ends:
        return f"robust accuracy of {a} and {b}: not compared, no certificates"
    better = [d.better for d in ends.values() if d.better]
    low = f"at least {ends[LEAST].value:.4f}" if LEAST in ends else "of unknown lower end"
    high = f"at most {ends[MOST].value:.4f}" if MOST in ends else "of unknown upper end"
    said = f"{better[0]} is better" if better else "which is better is not decided"
    return f"robust accuracy: {said} ({a} - {b}: {low}, {high} on these examples)"
