"""What a gate answers, for a terminal, a pull request and a test report."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree

from epsball.auditing.gating.conditions import Condition
from epsball.names import OnUndecided
from epsball.radius import format_radius
from epsball.results import Result, arrow_table, jsonable, text_table
from epsball.statistics import Interval, clopper_pearson

if TYPE_CHECKING:
    import pyarrow

LONGEST = 200_000
"""Bytes of a summary, at most: a step's summary on GitHub above 1 MiB is lost."""

Answer = Literal["pass", "fail", "cannot tell"]

FAILED, CANNOT_TELL = 10, 11
"""Exit codes."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The answer to one condition.

    Parameters
    ----------
    condition
        What was asked.
    answer
        Whether it is met.
    counted
        How many of the examples drawn count for passing.
    why
        What decided it, where that was not the count alone.
    """

    condition: Condition
    answer: Answer
    counted: int
    why: str = ""


@dataclass(frozen=True, kw_only=True, repr=False)
class Gate(Result):
    """Whether a classifier passes.

    Parameters
    ----------
    answer
        ``"pass"``: every condition is met; ``"fail"``: one is not; ``"cannot tell"``: at this effort.
    decisions
        One per condition.
    drawn, total
        Examples audited, drawn at random, of how many.
    alpha
        Probability, at most, of passing wrongly, and of failing wrongly.
    verdicts
        Their number by verdict.
    about
        What was decided about: hashes, ball, effort, seed.
    environment
        What the last bits of a logit depend on beside the model: torch, platform, device, dtype, threads.
    notes
        What to know beside.

    Examples
    --------
    >>> gate = Gate(answer="pass", decisions=(), drawn=16, total=100, alpha=0.05, verdicts={}, about={})
    >>> gate.passed, gate.exit_code
    (True, 0)
    """

    answer: Answer
    decisions: tuple[Decision, ...]
    drawn: int
    total: int
    alpha: float
    verdicts: Mapping[str, int]
    about: Mapping[str, Any]
    environment: Mapping[str, str | int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every condition is met."""
        return self.answer == "pass"

    @property
    def exit_code(self) -> int:
        """0 pass, 10 fail, 11 cannot tell."""
        return {"pass": 0, "fail": FAILED, "cannot tell": CANNOT_TELL}[self.answer]

    def _rows(self) -> list[tuple[Any, ...]]:
        return [
            (
                d.condition.name.replace("_", " "),
                d.condition.asked,
                d.answer,
                f"{d.counted} of {self.drawn}",
                str(self._of_source(d)),
                _why(d),
            )
            for d in self.decisions
        ]

    def _of_source(self, decision: Decision) -> Interval:
        """Return a 95% interval for the source of the examples, of what counts for passing; not sequential."""
        return clopper_pearson(decision.counted, self.drawn)

    def __str__(self) -> str:
        header = ("condition", "asked", "answer", "counted", "95% of the source", "")
        return "\n".join([text_table(header, self._rows()), "", *self._sentences()])

    def _sentences(self) -> list[str]:
        how = "all of them" if self.drawn == self.total else f"{self.drawn} of them, drawn at random"
        verdicts = ", ".join(f"{count} {name}" for name, count in self.verdicts.items())
        return [
            f"{self.answer}: about these {self.total} examples, by {how} ({verdicts})",
            f"wrong with probability at most {self.alpha:g}" if self.drawn < self.total else "exact for these examples",
            *map(printable, self.notes),
        ]

    def sentence(self, decision: Decision) -> str:
        """Return the answer to one condition in a sentence."""
        counted = f"{decision.counted} of {self.drawn}"
        return f"{decision.condition.asked}: {decision.answer}, {counted} counted; {_why(decision)}"

    def to_markdown(self) -> str:
        """Return the summary of a step in Markdown, at most `LONGEST` bytes."""
        header = "| condition | asked | answer | counted | 95% of the source | meaning |\n|---|---|---|---|---|---|"
        rows = [f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |" for row in self._rows()]
        sentences = [line for sentence in self._sentences() for line in (sentence, "")]
        return cut("\n".join([f"### robustness gate: {self.answer}", "", header, *rows, "", *sentences]))

    def to_junit(self, on_undecided: OnUndecided = "fail") -> str:
        """Return the answer as a JUnit XML report: one case per condition.

        What cannot be told is an error, or skipped where it counts as a pass.
        """
        kinds = {"fail": "failure", "cannot tell": "error" if on_undecided == "fail" else "skipped"}
        found = [kinds.get(decision.answer) for decision in self.decisions]
        counts = {"tests": str(len(found)), "failures": str(found.count("failure"))}
        counts |= {"errors": str(found.count("error")), "skipped": str(found.count("skipped"))}
        suite = ElementTree.Element("testsuite", {"name": "epsball gate", **counts})
        for decision, kind in zip(self.decisions, found, strict=True):
            case = ElementTree.SubElement(
                suite, "testcase", {"classname": "epsball.gate", "name": decision.condition.name}
            )
            if kind is not None:
                ElementTree.SubElement(case, kind, {"message": self.sentence(decision)})
        return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row per condition."""
        return arrow_table(
            {
                "condition": [d.condition.name for d in self.decisions],
                "share": [format_radius(d.condition.share) for d in self.decisions],
                "answer": [d.answer for d in self.decisions],
                "counted": [str(d.counted) for d in self.decisions],
            }
        )

    def to_json(self) -> dict[str, Any]:
        """Return the answer made of JSON's types."""
        return jsonable({name: getattr(self, name) for name in self.__dataclass_fields__})


def _why(decision: Decision) -> str:
    return printable(decision.why or decision.condition.meaning)


def printable(text: str) -> str:
    """Return a text, which may hold what a model's error says, as one line without control characters."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def cut(text: str, most: int = LONGEST) -> str:
    """Return a text of at most some bytes; where it is cut, it says so.

    Examples
    --------
    >>> cut("a long text that goes on", 20).splitlines()
    ['a long te', '... (cut)']
    """
    mark = "\n... (cut)\n"
    content = text.encode()
    return text if len(content) <= most else content[: most - len(mark)].decode(errors="ignore") + mark
