"""What checking a model and its data shows, on one screen."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from epsball.results import Result, arrow_table, jsonable, text_table
from epsball.statistics import Bound

if TYPE_CHECKING:
    import pyarrow

State = Literal["holds", "fails", "note", "not looked at"]
Runs = Literal["runs", "not tried", "cannot run"]


@dataclass(frozen=True, kw_only=True)
class Guard:
    """What one guard found.

    Parameters
    ----------
    name
        What it guards.
    state
        ``"note"``: an audit runs, but should be read with it.
    finding
        What was seen; where it fails also the rule and the fix.
    exit_code
        That of the error with which other commands would end, 0 where there is none.
    """

    name: str
    state: State
    finding: str
    exit_code: int = 0


@dataclass(frozen=True, kw_only=True)
class MethodFinding:
    """Whether a method of certificates can run.

    Parameters
    ----------
    name
        The method.
    runs
        ``"runs"``: it bounded the first examples; ``"not tried"``: that would take too long.
    automatic
        Whether it is part of the cascade ``"auto"``; else it is asked for by name.
    passes, seconds
        What an example costs; None where it is not known. Seconds are measured, or estimated where it was not tried.
    why
        Why it cannot run.
    """

    name: str
    runs: Runs
    automatic: bool = False
    passes: int | None = None
    seconds: float | None = None
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class EffortCost:
    """What an effort costs here.

    Parameters
    ----------
    name
        The effort.
    attack
        Passes of the attack on an example that never breaks, at least and at most.
    certificate
        Passes of the certificates per example: the mean of the first examples, or all methods where `measured` is not.
    seconds
        Estimated for all examples: where nothing lowers the margin of those that are right, and at most.
    measured
        Whether the certificates were tried on the first examples.
    """

    name: str
    attack: tuple[int, int]
    certificate: int
    seconds: tuple[float, float]
    measured: bool = True


@dataclass(frozen=True, kw_only=True, repr=False)
class ModelCheck(Result):
    """What was understood of a model and its data, and what can be measured of them.

    Parameters
    ----------
    about
        What was understood, by name.
    guards
        What each guard found.
    natural
        Natural accuracy on the first examples; None where a guard fails.
    first, total
        How many examples that is about, of how many.
    certificates
        Per method, whether it can run.
    milliseconds
        Of a forward and of a backward pass of one example among others; None where a guard fails.
    efforts
        What each effort costs.

    Examples
    --------
    >>> found = ModelCheck(about={}, guards=(Guard(name="labels", state="fails", finding="...", exit_code=2),), total=9)
    >>> found.passed, found.exit_code
    (False, 2)
    """

    about: Mapping[str, str]
    guards: tuple[Guard, ...]
    total: int
    natural: Bound | None = None
    first: int = 0
    certificates: tuple[MethodFinding, ...] = ()
    milliseconds: tuple[float, float] | None = None
    efforts: tuple[EffortCost, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether no guard fails: the other commands run on it."""
        return self.exit_code == 0

    @property
    def exit_code(self) -> int:
        """0, or that of the first guard that fails: 2 bad input, 3 bad model."""
        return next((guard.exit_code for guard in self.guards if guard.state == "fails"), 0)

    def __str__(self) -> str:
        width = max([len(name) for name in self.about], default=0)
        lines = [f"{name:<{width}}  {value}" for name, value in self.about.items()]
        lines += ["", text_table(("guard", "", "finding"), [(g.name, g.state, g.finding) for g in self.guards])]
        if self.natural is not None:
            lines += ["", f"natural accuracy on the first {self.first} examples: {self.natural}"]
        lines += ["", *self._certificate_lines()] if self.certificates else []
        lines += ["", *self._effort_lines()] if self.efforts else []
        return "\n".join(lines)

    def _certificate_lines(self) -> Iterator[str]:
        """Yield one line per way in which methods can run, and one per reason why some cannot."""
        kinds = (
            ("in auto", lambda m: m.runs == "runs" and m.automatic),
            ("by name", lambda m: m.runs == "runs" and not m.automatic),
            ("not tried, too long for a check", lambda m: m.runs == "not tried"),
        )
        for said, chosen in kinds:
            found = [_costly(method) for method in self.certificates if chosen(method)]
            if found:
                yield f"certificates {said}: {', '.join(found)}"
        for why in dict.fromkeys(method.why for method in self.certificates if method.runs == "cannot run"):
            names = [method.name for method in self.certificates if method.why == why]
            which = "no certificates" if len(names) == len(self.certificates) else f"no {', '.join(names)}"
            yield f"{which}: {why}"

    def _effort_lines(self) -> list[str]:
        header = ("effort", "attack, passes", "certificates, passes", f"time for {self.total} examples")
        rows = [(cost.name, _span(cost.attack), _certificate(cost), _time_span(cost.seconds)) for cost in self.efforts]
        forward, backward = self.milliseconds or (0.0, 0.0)
        return [
            text_table(header, rows),
            f"per example that never breaks; a forward takes {forward:.3g} ms here, a backward {backward:.3g} ms",
            "the time is an estimate: examples that break take less, the diagnosis up to half of the attack's on top",
        ]

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row per finding: what it is about, its name, its state and what was seen."""
        rows = [("understood", name, "", value) for name, value in self.about.items()]
        rows += [("guard", g.name, g.state, g.finding) for g in self.guards]
        rows += [("certificate", m.name, m.runs, m.why or _costly(m)) for m in self.certificates]
        rows += [("effort", cost.name, "", _time_span(cost.seconds)) for cost in self.efforts]
        names = ("about", "name", "state", "finding")
        return arrow_table({name: [row[at] for row in rows] for at, name in enumerate(names)})

    def to_json(self) -> dict[str, Any]:
        """Return the findings made of JSON's types."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return jsonable({"passed": self.passed, **fields})


def _costly(method: MethodFinding) -> str:
    cost = [f"{method.passes} passes"] if method.passes is not None else []
    cost += [time_text(method.seconds)] if method.seconds is not None else []
    return f"{method.name} ({', '.join(cost)})" if cost else method.name


def _certificate(cost: EffortCost) -> str:
    return str(cost.certificate) if cost.measured else f"at most {cost.certificate}"


def _span(ends: tuple[int, int]) -> str:
    return str(ends[0]) if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def _time_span(ends: Sequence[float]) -> str:
    low, high = map(time_text, ends)
    return low if low == high else f"{low} to {high}"


def time_text(seconds: float) -> str:
    """Return a time in the unit that suits it, to two digits.

    Examples
    --------
    >>> time_text(0.0123), time_text(75.0), time_text(40000.0)
    ('12 ms', '75 s', '11 h')
    """
    for unit, size, most in (("ms", 1e-3, 1.0), ("s", 1.0, 120.0), ("min", 60.0, 7200.0), ("h", 3600.0, 172800.0)):
        if seconds < most:
            return f"{float(f'{seconds / size:.2g}'):g} {unit}"
    return f"{float(f'{seconds / 86400:.2g}'):g} days"
