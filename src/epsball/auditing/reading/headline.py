"""The verdict on a run in one sentence: it follows the worst, never the mean."""

from dataclasses import dataclass
from typing import Literal

from epsball.auditing.chain import CERTIFIED
from epsball.auditing.reading.summary import ROBUST, Summary

Grade = Literal["proved", "open", "doubtful", "broken", "unknown"]
"""What the sentence says: all that stands is proved; some is neither; the number cannot be trusted; nothing stands in
the worst class; nothing is known."""


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The verdict.

    Parameters
    ----------
    grade
        In a word.
    sentence
        About the worst: what cannot be trusted, else the worst class.
    overall
        About all examples.
    """

    grade: Grade
    sentence: str
    overall: str


def headline(summary: Summary) -> Headline:
    """Return the verdict on a run."""
    overall = _overall(summary)
    if not summary.total:
        return Headline(grade="unknown", sentence="No example is finished: nothing is known yet.", overall=overall)
    if summary.verdicts["invalid"] == summary.total:
        sentence = f"The model gave no verdict on any of {summary.total:,} examples: nothing is known."
        return Headline(grade="unknown", sentence=sentence, overall=overall)
    doubt = _doubt(summary)
    return Headline(grade="doubtful", sentence=doubt, overall=overall) if doubt else _of_worst_class(summary, overall)


def _doubt(summary: Summary) -> str | None:
    """Return why accuracy under attack cannot be trusted, or None."""
    missed = summary.reading.chain.get("missed witness")
    if missed:
        return f"Accuracy under attack is too high to be true: {missed}"
    found = summary.diagnosis
    if found is None or found.verdict == "sound":
        return None
    why = f" ({', '.join(found.reasons)})" if found.reasons else ""
    if found.verdict == "masked":
        return f"Gradients are masked{why}: a number from a plain attack must not be reported for this model."
    return f"Accuracy under attack is in doubt{why}: it may be lower than what was found."


def _of_worst_class(summary: Summary, overall: str) -> Headline:
    worst, ball = summary.classes[0], summary.ball
    where = f"In its worst class ({worst.brief})" if len(summary.classes) > 1 else "The model keeps"
    of = f"of {worst.total:,} examples right within {ball}"
    if not worst.standing:
        sentence = f"Within {ball} nothing stands in the worst class ({worst.brief}): 0 of {worst.total:,} examples."
        return Headline(grade="broken", sentence=sentence, overall=overall)
    keeps = "the model keeps" if len(summary.classes) > 1 else ""
    if worst.certified is None:
        sentence = f"{where} {keeps} at most {worst.standing:,} {of}; none of that is proved."
    elif worst.certified == worst.standing:
        sentence = f"{where} {keeps} {worst.standing:,} {of}, and all of these are proved."
    else:
        sentence = f"{where} {keeps} at most {worst.standing:,} {of}; {_proved(worst.certified)} proved."
    certified = summary.place(CERTIFIED)
    proved = certified.measured and not summary.verdicts["undecided"] and not summary.verdicts["invalid"]
    return Headline(grade="proved" if proved else "open", sentence=" ".join(sentence.split()), overall=overall)


def _proved(count: int) -> str:
    return "none is" if not count else f"{count:,} {'is' if count == 1 else 'are'}"


def _overall(summary: Summary) -> str:
    robust = summary.place(ROBUST)
    if robust.low is None or robust.high is None:
        return "Robust accuracy: not measured."
    of = f"of {summary.total:,} examples"
    if (robust.low, robust.high) == (0.0, 1.0):
        return f"Over all {of[3:]} nothing is known of robust accuracy."
    if robust.low == robust.high:
        return f"Over all {of[3:]} robust accuracy is {robust.low:.1%}, known exactly on them."
    return f"Over all {of[3:]} robust accuracy lies between {robust.low:.1%} and {robust.high:.1%}."
