"""One field of a record that leaves: its value, and the evidence that it stands on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from epsball.statistics import Interval

NOT_MEASURED = "not measured"
NOT_GIVEN = "not given"


@dataclass(frozen=True, kw_only=True)
class Pointer:
    """A place in a run folder.

    Parameters
    ----------
    file
        Its path within the folder; ``certificates/*`` for all of them.
    sha256
        The hash of the file's content; for several files, that of their hashes in order.
    rows
        The rows read, as in ``0-999``; None in a document.
    columns
        The columns read.
    at
        JSON pointer within a document; None in a table.
    """

    file: str
    sha256: str
    rows: str | None = None
    columns: tuple[str, ...] = ()
    at: str | None = None

    def __str__(self) -> str:
        if self.at is not None:
            return f"{self.file}#{self.at}"
        rows = "" if self.rows is None else f" rows {self.rows}"
        return self.file + rows + (f": {', '.join(self.columns)}" if self.columns else "")

    def to_json(self) -> dict[str, object]:
        """Return what is there as JSON's types."""
        named = {"rows": self.rows, "columns": list(self.columns) or None, "at": self.at}
        return {"file": self.file, "sha256": self.sha256, **{k: v for k, v in named.items() if v is not None}}


@dataclass(frozen=True, kw_only=True)
class Value:
    """What was measured.

    Parameters
    ----------
    value
        A number or words; never a bare pass.
    interval
        The 95% interval for the source of the examples, where there is one.
    count, of
        The examples counted, of how many.
    note
        What the value says, where its name does not.
    """

    value: float | int | str
    interval: Interval | None = None
    count: int | None = None
    of: int | None = None
    note: str | None = None

    def __str__(self) -> str:
        text = f"{self.value:.4f}" if isinstance(self.value, float) else str(self.value)
        text += "" if self.interval is None else f" {self.interval}"
        return text if self.count is None else f"{text} ({self.count} of {self.of})"


@dataclass(frozen=True, kw_only=True)
class Field:
    """A field of a record.

    Parameters
    ----------
    name
        Its key, the same in every form.
    value
        What was measured, or was given; None where neither.
    evidence
        Where it was read; what a person gave has none.
    missing
        Why there is no value.
    given
        Whether it is for a person to say: such a field without a value is not given, any other one is not measured.
    """

    name: str
    value: Value | None = None
    evidence: Sequence[Pointer] = ()
    missing: str | None = None
    given: bool = False

    @property
    def text(self) -> str:
        """The value in words."""
        if self.value is not None:
            return str(self.value)
        return NOT_GIVEN if self.given else NOT_MEASURED

    def to_json(self) -> dict[str, Any]:
        """Return the field as JSON's types."""
        document: dict[str, Any] = {"field": self.name}
        if self.value is None:
            return document | {"value": self.text} | ({"because": self.missing} if self.missing else {})
        interval, counts = self.value.interval, self.value.count is not None
        document["value"] = self.value.value
        document |= {} if interval is None else {"interval 95%": [interval.low, interval.high]}
        document |= {"count": self.value.count, "of": self.value.of} if counts else {}
        document |= {"note": self.value.note} if self.value.note else {}
        if self.given:
            return document | {"given by": "the tester"}
        return document | {"evidence": [pointer.to_json() for pointer in self.evidence]}
