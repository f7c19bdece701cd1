"""Measured numbers of the documentation, each bound to the file it came from.

A number stands in README, a page or a docstring with a mark behind it, invisible where Markdown is rendered::

    makes the page in 2.3 s<!-- measured: page.json#making -->

`docs/evidence/page.json` holds the value beside command, machine and date. `tools/measured.py` rewrites what stands
from what is in the file; the site shows the number with n, interval and date.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from epsball.method_versions import method_version

ROOT = Path(__file__).parent.parent
EVIDENCE = ROOT / "docs" / "evidence"

NUMBER = r"(?:(?<![\w.,])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|(?<![\w.,])-?\.\d+)"
UNIT = r"(?:%|percent|CPU-seconds|CPU-minutes|CPU-s|CPU seconds|times|seconds|minutes|hours|s|ms|min|MB|KB|points)"
OLD = "<sup>old</sup>"

_SOURCE = r"(?P<file>[\w.-]+\.json)#(?P<path>[\w.-]+)"

MARK = re.compile(
    rf"(?P<number>{NUMBER})(?P<of> of {NUMBER})?(?P<unit> ?{UNIT})?"
    rf"<!-- measured: {_SOURCE} -->(?P<old>{re.escape(OLD)})?"
)
"""A number as it stands, and where it is from."""

INTERVAL_MARK = re.compile(rf"\[(?P<low>{NUMBER}), (?P<high>{NUMBER})\]<!-- interval: {_SOURCE} -->")
"""Its interval."""

DATE_MARK = re.compile(rf"(?P<date>\d{{4}}-\d{{2}}-\d{{2}})<!-- date: {_SOURCE} -->")
"""The day it was measured."""

ANY_MARK = re.compile(r"<!-- (?:measured|interval|date): ")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One measured number with what a reader needs to judge it.

    Parameters
    ----------
    value
        The number, as precise as it was written down. A share is between 0 and 1.
    what
        What was measured, in a few words.
    unit
        Its unit; `share` may be shown in percent.
    n
        Of how many (examples, runs, pairs), or None.
    interval
        The exact 95% interval (of a count that of its share), or what `spread` says, or None.
    spread
        What the interval is, where it is not a 95% interval.
    command
        What measured it.
    machine
        The kind of machine it ran on.
    date
        The day, in ISO's order.
    outdated
        Why it may not hold any more, or an empty text.
    """

    value: float
    what: str
    unit: str
    n: int | None
    interval: tuple[float, float] | None
    spread: str
    command: str
    machine: str
    date: str
    outdated: str


class EvidenceError(ValueError):
    """A mark that names no file or value, or a file that lacks a field."""


@cache
def _document(file: str) -> dict[str, Any]:
    path = EVIDENCE / file
    if not path.is_file():
        raise EvidenceError(f"there is no evidence file {file} in docs/evidence.")
    return json.loads(path.read_text(encoding="utf-8"))


def measured(file: str, path: str) -> Measured:
    """Return a value of an evidence file.

    Raises
    ------
    EvidenceError
        If there is no such file or value, or a field of it is missing.
    """
    document = _document(file)
    entry = document.get("values", {}).get(path)
    if entry is None:
        raise EvidenceError(f"{file} has no value '{path}'; it has {', '.join(document.get('values', {}))}.")
    given = {**{key: document[key] for key in ("command", "machine", "date", "methods") if key in document}, **entry}
    missing = [key for key in ("value", "what", "command", "machine", "date", "methods") if key not in given]
    if missing:
        raise EvidenceError(f"{file}#{path} lacks {', '.join(missing)}.")
    interval = given.get("interval")
    return Measured(
        value=float(given["value"]),
        what=given["what"],
        unit=given.get("unit", ""),
        n=given.get("n"),
        interval=None if interval is None else (float(interval[0]), float(interval[1])),
        spread=given.get("spread", "95% interval"),
        command=given["command"],
        machine=given["machine"],
        date=given["date"],
        outdated=_outdated(given["methods"]),
    )


def about(file: str) -> str:
    """Return what an evidence file is about."""
    return _document(file)["about"]


def evidence_names(file: str) -> list[str]:
    """Return the names of the values of an evidence file."""
    return list(_document(file)["values"])


def _outdated(methods: dict[str, int]) -> str:
    newer = [name for name, version in methods.items() if method_version(name) > version]
    return "; ".join(f"measured with version {methods[name]} of {name}, now {method_version(name)}" for name in newer)


def shown(found: Measured, like: re.Match[str]) -> str:
    """Return a number as it is to stand: with the decimals, the unit and the style of what stands there.

    Examples
    --------
    >>> import re
    >>> one = Measured(value=0.0089, what="", unit="share", n=None, interval=None, spread="", command="", machine="",
    ...                date="", outdated="")
    >>> shown(one, MARK.match("0.92%<!-- measured: a.json#b -->"))
    '0.89%'
    """
    unit = like["unit"] or ""
    percent = found.unit == "share" and unit.strip() in ("%", "percent")
    text = plain(found.value * 100 if percent else found.value, like=like["number"])
    of = "" if like["of"] is None else f" of {found.n:,}"
    return f"{text}{of}{unit}"


def plain(value: float, *, like: str) -> str:
    """Return a value with the decimals of a text, and without the zero before the point where that has none."""
    decimals = len(like.partition(".")[2])
    text = f"{value:,.{decimals}f}"
    return text.removeprefix("0") if like.startswith(".") and 0 <= value < 1 else text


def rewritten(text: str) -> str:
    """Return a text with every marked number, interval and date as its evidence file has it.

    Raises
    ------
    EvidenceError
        If a mark names nothing, or nothing that fits stands before it.
    """
    marks = (MARK, _number), (INTERVAL_MARK, _interval), (DATE_MARK, _date)
    if len(ANY_MARK.findall(text)) != sum(len(pattern.findall(text)) for pattern, _ in marks):
        raise EvidenceError("a mark <!-- measured: FILE.json#path --> has no number right before it.")
    for pattern, renewed in marks:
        text = pattern.sub(renewed, text)
    return text


def _number(mark: re.Match[str]) -> str:
    found = measured(mark["file"], mark["path"])
    return f"{shown(found, mark)}<!-- measured: {mark['file']}#{mark['path']} -->{OLD if found.outdated else ''}"


def _interval(mark: re.Match[str]) -> str:
    found = measured(mark["file"], mark["path"])
    if found.interval is None:
        raise EvidenceError(f"{mark['file']}#{mark['path']} has no interval.")
    low, high = (plain(end, like=mark[name]) for name, end in zip(("low", "high"), found.interval, strict=True))
    return f"[{low}, {high}]<!-- interval: {mark['file']}#{mark['path']} -->"


def _date(mark: re.Match[str]) -> str:
    found = measured(mark["file"], mark["path"])
    return f"{found.date}<!-- date: {mark['file']}#{mark['path']} -->"


def documents() -> Iterator[Path]:
    """Return the files whose numbers are bound: README and its sisters, the pages, and the sources for docstrings."""
    yield from sorted(ROOT.glob("*.md"))
    yield ROOT / "benchmarks" / "README.md"
    yield from sorted(path for path in (ROOT / "docs").rglob("*.md") if path.parent != EVIDENCE)
    yield from sorted((ROOT / "src").rglob("*.py"))
