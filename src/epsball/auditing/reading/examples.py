"""The examples of a run as columns for a table: numbers, and texts as codes into a list of words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from epsball.auditing.evidence import VERDICTS
from epsball.auditing.reading.run import Reading
from epsball.auditing.reading.selection import worst_margin
from epsball.auditing.reading.witnesses import Changes, size_text

CHANGES = ("newly broken", "newly undecided", "newly certified", "newly standing", "other", "same")
"""In what an example of a second run differs from the first, the gravest first."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Column:
    """One column.

    Parameters
    ----------
    name, title
        Its name in links and files, and its heading.
    kind
        ``"count"``: whole numbers, -1 where there is none. ``"number"``: NaN where there is none. ``"word"``: codes
        into `words`, -1 where there is none.
    values
        One entry per example.
    words
        The texts of a column of words.
    """

    name: str
    title: str
    kind: Literal["count", "number", "word"]
    values: np.ndarray
    words: Sequence[str] = ()


def columns(reading: Reading, changes: Changes, before: Reading | None = None) -> list[Column]:
    """Return the columns of a run that hold anything; with the run before it, also in what examples changed."""
    names = reading.class_names
    by = [
        a if a is not None else b
        for a, b in zip(reading.column("attack.by"), reading.column("diagnosis.by"), strict=True)
    ]
    found = [
        Column(name="index", title="#", kind="count", values=reading.column("index").astype(np.int64)),
        *([] if before is None else _against(reading, before)),
        _words("verdict", "verdict", reading.verdict, VERDICTS),
        Column(name="label", title="true", kind="word", values=_codes(reading.column("label"), names), words=names),
        Column(
            name="prediction",
            title="predicted",
            kind="word",
            values=_codes(reading.column("prediction"), names),
            words=names,
        ),
        _of_witness("witness", "witness is", changes, reading, _codes(changes.prediction, names), names),
        _number("natural", "natural margin", reading.numbers("natural.margin")),
        _number("margin", "worst margin", worst_margin(reading)),
        _number("bound", "certified bound", reading.numbers("certificate.margin")),
        _number("distance", "distance", reading.numbers("attack.distance")),
        _words("by", "decided by", [a if a is not None else b for a, b in zip(by, _method(reading), strict=True)]),
        _words("hard", "limit", reading.column("limit.hard")),
        _words("reason", "invalid because", reading.column("invalid.reason")),
        Column(name="passes", title="passes", kind="count", values=_passes(reading)),
        _of_witness("changed", "values changed", changes, reading, changes.changed),
        _sizes(changes, reading),
    ]
    return [column for column in found if _holds_anything(column)]


def _holds_anything(column: Column) -> bool:
    if column.name in ("index", "verdict", "label", "prediction"):
        return True
    values = column.values
    return bool(np.isfinite(values).any() if column.kind == "number" else (values >= 0).any())


def _number(name: str, title: str, values: np.ndarray) -> Column:
    return Column(name=name, title=title, kind="number", values=values)


def _words(name: str, title: str, values: Sequence[object] | np.ndarray, words: Sequence[str] | None = None) -> Column:
    """Return a column of texts; None is no text."""
    known = list(words) if words is not None else sorted({str(value) for value in values if value is not None})
    place = {word: code for code, word in enumerate(known)}
    codes = np.array([-1 if value is None else place.get(str(value), -1) for value in values], dtype=np.int64)
    return Column(name=name, title=title, kind="word", values=codes, words=known)


def _codes(values: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return class numbers, -1 where there is no such class."""
    codes = np.nan_to_num(values.astype(np.float64), nan=-1.0).astype(np.int64)
    return np.where((codes >= 0) & (codes < len(names)), codes, -1)


def _method(reading: Reading) -> list[object]:
    certified, method = reading.flag("certificate.certified"), reading.column("certificate.method")
    return [name if proved else None for name, proved in zip(method, certified, strict=True)]


def _passes(reading: Reading) -> np.ndarray:
    """Return the passes of the attack on each example."""
    if "attack.forwards" not in reading.table.column_names:
        return np.full(len(reading.table), -1)
    spent = sum(np.nan_to_num(reading.numbers(f"attack.{name}")) for name in ("forwards", "backwards"))
    return np.asarray(spent).astype(np.int64)


def _of_witness(
    name: str, title: str, changes: Changes, reading: Reading, values: np.ndarray, words: Sequence[str] = ()
) -> Column:
    """Return a column of what is known of witnesses, -1 where there is none."""
    known = dict(zip(changes.index.tolist(), values.tolist(), strict=True))
    column = np.array([known.get(index, -1) for index in reading.column("index").tolist()], dtype=np.int64)
    return Column(name=name, title=title, kind="word" if words else "count", values=column, words=words)


def _sizes(changes: Changes, reading: Reading) -> Column:
    """Return the largest change of each witness in words."""
    ball = str(reading.identity["ball"])
    texts = dict(zip(changes.index.tolist(), (size_text(value, ball) for value in changes.largest), strict=True))
    return _words("size", "largest change", [texts.get(index) for index in reading.column("index").tolist()])


def _against(reading: Reading, before: Reading) -> list[Column]:
    then = before.verdict
    now = reading.verdict
    change = [_change(a, b) for a, b in zip(then, now, strict=True)]
    return [_words("change", "change", change, CHANGES), _words("before", "before", then, VERDICTS)]


def _change(then: str, now: str) -> str:
    """Return in what an example changed from one run to the next."""
    stood, stands = (verdict not in ("misclassified", "broken") for verdict in (then, now))
    if stood and not stands:
        return "newly broken"
    if then == "certified" and now != "certified":
        return "newly undecided"
    if now == "certified" and then != "certified":
        return "newly certified"
    if stands and not stood:
        return "newly standing"
    return "same" if then == now else "other"
