"""What a section is: a heading, a sentence, a figure and its table, or why there is none."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Table:
    """The table beside a figure.

    Parameters
    ----------
    caption, header, rows
        Its caption, the headings, and the cells as they are shown.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    @cached_property
    def words(self) -> set[int]:
        """The columns of words, which stand to the left: no cell of theirs begins with a digit."""
        columns = enumerate(zip(*self.rows, strict=True))
        return {number for number, cells in columns if all(cell[:1].isalpha() or cell[:1] == "#" for cell in cells)}


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section.

    Parameters
    ----------
    id, short, title, term
        Its name in links and in the list of sections, its heading, and the word that explains it.
    lead
        What it says, in a sentence.
    missing, command
        Why it was not measured, and the command that measures it; None where it was.
    figure, table
        A figure as SVG, and its numbers.
    template
        A template of its own below these, which sees `more`.
    more
        What that template shows.
    wide
        Whether the figure takes the whole width.
    """

    id: str
    short: str
    title: str
    term: str
    lead: str = ""
    missing: str | None = None
    command: str | None = None
    figure: str | None = None
    table: Table | None = None
    template: str | None = None
    more: dict[str, Any] = field(default_factory=dict)
    wide: bool = False

    def absent(self, why: str, command: str | None = None) -> "Section":
        """Return the section that says why there is no number."""
        return replace(self, missing=why, command=command)
