"""What to do next: at most three steps, the one that changes most first, each with its command."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice

from epsball.auditing.chain import LIMIT
from epsball.auditing.reading.summary import ROBUST, Summary

MOST = 3

_WIDE = 0.1
"""Width of an interval from which on more examples are worth auditing."""

_LEAST_GATE = 0.01
"""A gate asks for this much robust accuracy at least: one that asks for none finds nothing."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing to do.

    Parameters
    ----------
    title, why
        What to do, and why.
    command
        The command that does it, where there is one.
    shows
        Which examples of the page it is about, as the page's address names them.
    """

    title: str
    why: str
    command: str | None = None
    shows: str | None = None


def next_steps(summary: Summary, newly_broken: int = 0) -> list[Step]:
    """Return the first steps that apply; of a second run, the examples that stood in the first come first."""
    flipped = Step(
        title=f"Look at {_examples(newly_broken)} newly broken",
        why="They stood in the first run, and do not in this one.",
        shows="chg=newly+broken&sort=margin",
    )
    steps = chain([flipped] if newly_broken else [], _steps(summary))
    return list(islice(steps, MOST))


def _steps(summary: Summary) -> Iterator[Step]:
    reading = summary.reading
    words = shlex.join(reading.words or ("MODEL", "DATA"))
    if reading.partial:
        yield Step(
            title="Let the run finish",
            why=f"This page shows {summary.total:,} examples so far; the same command goes on from here.",
            command=reading.about.get("command"),
        )
    yield from _about_trust(summary, words)
    if reading.chain.get("without certificates because") or "certificate.certified" not in reading.table.column_names:
        reason = reading.chain.get("without certificates because", "no certificate was tried").split(". ")[0]
        yield Step(
            title="Prove something",
            why=f"Nothing is proved ({reason}), so robust accuracy has no lower end.",
            command=f"epsball certify {words} --ball {summary.ball}",
        )
    yield from _about_verdicts(summary, words)
    yield from _about_data(summary, words)
    robust = summary.place(ROBUST)
    if robust.interval is not None and robust.interval.low >= _LEAST_GATE:
        yield Step(
            title="Make it a gate in CI",
            why="A change that makes the model worse than this run is then found before it is merged.",
            command=f"epsball gate {words} --ball {summary.ball} --min-robust {_down(robust.interval.low)}",
        )


def _about_trust(summary: Summary, words: str) -> Iterator[Step]:
    found = summary.diagnosis
    if found is None:
        reason = summary.reading.chain.get("without diagnosis because", "not made")
        yield Step(
            title="Find out whether the attack can be trusted",
            why=f"There is no diagnosis of gradient masking ({reason}).",
            command=f"epsball diagnose {words} --ball {summary.ball}",
        )
        return
    for check in sorted(found.checks, key=lambda check: check.severity != "masked"):
        if check.severity != "none":
            yield Step(title=f"Settle what a check found: {check.name}", why=f"{check.measured}; {check.advice}.")


def _about_verdicts(summary: Summary, words: str) -> Iterator[Step]:
    counts = summary.verdicts
    if counts["invalid"]:
        yield Step(
            title=f"Mend {_examples(counts['invalid'])} without a verdict",
            why="The model gave no finite logits there; they count against every lower end.",
            shows="v=invalid&sort=margin",
        )
    if counts["undecided"]:
        yield Step(
            title=f"Decide {_examples(counts['undecided'])}",
            why="Neither broken nor certified: branch and bound proves them or finds a witness.",
            command=f"epsball certify {words} --ball {summary.ball} --method complete --cpu-seconds 60",
            shows="v=undecided&sort=margin",
        )
    if counts["broken"]:
        worst = summary.classes[0]
        yield Step(
            title=f"Look at the {_examples(counts['broken'])} that are broken",
            why=f"The worst class is {worst.said}: {worst.standing:,} of {worst.total:,} stand.",
            shows="v=broken&sort=margin",
        )


def _about_data(summary: Summary, words: str) -> Iterator[Step]:
    robust, limit = summary.place(ROBUST), summary.place(LIMIT)
    width = 0.0 if robust.interval is None else robust.interval.high - robust.interval.low
    known = 0.0 if robust.low is None or robust.high is None else robust.high - robust.low
    if summary.total and width - known > _WIDE:
        yield Step(
            title="Audit more examples",
            why=f"{_examples(summary.total)} leave the source's robust accuracy uncertain by {width - known:.0%}; four "
            "times as many halve that.",
        )
    norm, _, radius = summary.ball.partition(":")
    _, data = summary.reading.words or ("MODEL", "DATA")
    if not limit.measured and summary.total:
        yield Step(
            title="Measure what is possible at all",
            why=f"The optimal adversarial risk of the data is unknown: {limit.missing}.",
            command=f"epsball limit {shlex.quote(data)} --norm {norm} --radii {radius.split(',')[0]}",
        )


def _examples(count: int) -> str:
    return "1 example" if count == 1 else f"{count:,} examples"


def _down(share: float) -> str:
    """Return a share rounded down to two decimals."""
    return f"{int(share * 100) / 100:.2f}"
