"""Forms that are lists of clauses, each with the fields that belong to it: as JSON and as Markdown."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from epsball.auditing.exporting.field import Field


@dataclass(frozen=True, kw_only=True)
class Clause:
    """A clause of a standard or a law, and what belongs under it.

    Parameters
    ----------
    number
        As its text counts.
    title
        What it is about.
    fields
        The names of the fields.
    """

    number: str
    title: str
    fields: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Sections:
    """A form made of clauses.

    Parameters
    ----------
    title
        The record's.
    source
        What the clauses are those of, with its version.
    disclaimer
        What the record is not.
    clauses
        In their order.
    """

    title: str
    source: str
    disclaimer: str
    clauses: Sequence[Clause]

    def to_json(self, fields: Mapping[str, Field]) -> str:
        """Return the record as a JSON document."""
        clauses = [
            {"clause": c.number, "title": c.title, "fields": [fields[name].to_json() for name in c.fields]}
            for c in self.clauses
        ]
        head = {"record": self.title, "source": self.source, "disclaimer": self.disclaimer}
        return json.dumps({**head, "clauses": clauses}, indent=2, allow_nan=False) + "\n"

    def to_markdown(self, fields: Mapping[str, Field]) -> str:
        """Return the record in Markdown, one table per clause."""
        lines = [f"# {self.title}", "", f"{self.source}. {self.disclaimer}", ""]
        for clause in self.clauses:
            lines += [f"## {clause.number} {clause.title}", "", *table(fields[name] for name in clause.fields), ""]
        return "\n".join(lines)


def table(fields: "Sequence[Field] | object") -> list[str]:
    """Return fields as the lines of a Markdown table."""
    rows = [
        (field.name, field.text, _remark(field), _evidence(field))
        for field in fields  # pyright: ignore[reportGeneralTypeIssues]
    ]
    cells = [[cell.replace("|", r"\|").replace("\n", " ") for cell in row] for row in rows]
    head = ["| field | value | what it says | evidence |", "| --- | --- | --- | --- |"]
    return head + [f"| {' | '.join(row)} |" for row in cells]


def _remark(field: Field) -> str:
    return (field.missing if field.value is None else field.value.note) or ""


def _evidence(field: Field) -> str:
    if field.given:
        return "the tester's word" if field.value is not None else ""
    return "; ".join(f"{pointer} ({pointer.sha256[:19]}...)" for pointer in field.evidence)
