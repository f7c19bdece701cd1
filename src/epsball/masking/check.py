"""What a check is: a question about an evaluation, and the finding that answers it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import nan
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from epsball.masking.trial import Trial

Outcome = Literal["passes", "fails", "inconclusive"]

Severity = Literal["none", "suspect", "masked"]
"""The verdict that a finding calls for."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a check found.

    Parameters
    ----------
    outcome
        ``"inconclusive"`` where nothing could be measured, or what was measured decides nothing.
    measured
        What was measured, in words.
    severity
        The verdict it calls for; ``"none"`` where it passes, is inconclusive, or decides nothing by itself.
    values
        The numbers, by name.
    """

    outcome: Outcome
    measured: str
    severity: Severity = "none"
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Check:
    """A question about a classifier and its evaluation.

    Parameters
    ----------
    name
        By which results and files name it; never changes.
    question
        What it asks.
    threshold
        From where on it fails, in words.
    source
        Where the question, or its threshold, comes from.
    advice
        What to do where it fails.
    ask
        Answers it from the measurements of a trial.
    """

    name: str
    question: str
    threshold: str
    source: str
    advice: str
    ask: Callable[["Trial"], Answer]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A check and its answer, as a result keeps them.

    Parameters
    ----------
    name, question, threshold, source
        Of the check.
    finding, measured, severity, values
        Of its answer: the outcome, and the rest as for `Answer`.
    advice
        What to do; empty where the check passes.
    """

    name: str
    question: str
    finding: Outcome
    measured: str
    threshold: str
    source: str
    severity: Severity
    advice: str
    values: dict[str, float]

    @classmethod
    def of(cls, check: Check, answer: Answer) -> "Finding":
        """Return the finding that an answer is."""
        return cls(
            name=check.name,
            question=check.question,
            finding=answer.outcome,
            measured=answer.measured,
            threshold=check.threshold,
            source=check.source,
            severity=answer.severity,
            advice=check.advice if answer.outcome == "fails" else "",
            values=dict(answer.values),
        )

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Finding":
        """Return what a diagnosis wrote of it; a value that is not finite comes back as NaN."""
        values = {name: nan if value is None else value for name, value in document["values"].items()}
        return cls(**{**document, "values": values})


def inconclusive(why: str) -> Answer:
    """Return the answer of a check that cannot be decided."""
    return Answer(outcome="inconclusive", measured=why)
