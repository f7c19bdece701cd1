"""All fields at once: a JSON document, and a table of comma-separated values."""

import csv
import io
import json
from collections.abc import Mapping

from epsball.auditing.exporting.field import Field

VERSION = 1
"""Version of the JSON document and of the columns."""

COLUMNS = ("field", "value", "low", "high", "count", "of", "note", "because", "evidence", "sha256")


def all_fields(fields: Mapping[str, Field]) -> str:
    """Return all fields as a JSON document."""
    document = {"epsball export": VERSION, "fields": [field.to_json() for field in fields.values()]}
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def table_of(fields: Mapping[str, Field]) -> dict[str, list[str | None]]:
    """Return the fields as columns of texts, one entry per field; floats in full."""
    rows = [_row(field) for field in fields.values()]
    return {name: [row[at] for row in rows] for at, name in enumerate(COLUMNS)}


def comma_separated(fields: Mapping[str, Field]) -> str:
    """Return the fields as comma-separated text with a header."""
    columns, sink = table_of(fields), io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(zip(*columns.values(), strict=True))
    return sink.getvalue()


def _row(field: Field) -> tuple[str | None, ...]:
    if field.value is None:
        return (field.name, field.text, None, None, None, None, None, field.missing, None, None)
    value = field.value
    ends = (None, None) if value.interval is None else (repr(value.interval.low), repr(value.interval.high))
    counts = (None, None) if value.count is None else (str(value.count), str(value.of))
    places = "; ".join(map(str, field.evidence)) or None
    hashes = "; ".join(pointer.sha256 for pointer in field.evidence) or None
    return (field.name, str(value.value), *ends, *counts, value.note, None, places, hashes)
