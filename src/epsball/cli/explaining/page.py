"""A page about one name, made of a docstring."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_SECTION = re.compile(r"^([A-Z][A-Za-z ]+)\n-{3,}\n", re.MULTILINE)
_SHOWN = {"Parameters": "options", "References": "source", "Raises": "errors"}
"""The sections of a docstring that a page has, and what it calls them."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """What is known of a name.

    Parameters
    ----------
    kind, name
        What it is the name of, and the name.
    text
        What it does, with its formula.
    parts
        Titled paragraphs: options, source, ...
    file
        Where it stands, below the folder of installed packages; empty where it is a word alone.
    """

    kind: str
    name: str
    text: str
    parts: dict[str, str] = field(default_factory=dict)
    file: str = ""

    def __str__(self) -> str:
        parts = [f"{self.name} ({self.kind})", "", self.text]
        for title, text in {**self.parts, "file": self.file}.items():
            if text:
                parts += ["", f"{title}:", *(f"  {line}".rstrip() for line in text.splitlines())]
        return "\n".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Return the page made of JSON's types."""
        return {"kind": self.kind, "name": self.name, "text": self.text, **self.parts, "file": self.file}


def of_docstring(kind: str, name: str, about: object, **parts: str) -> Page:
    """Return the page of a class or function, with further parts.

    Where a docstring names no source, its module's does.
    """
    sections = sections_of(inspect.getdoc(about))
    if "References" not in sections:
        module = sections_of(inspect.getdoc(inspect.getmodule(about)))
        sections |= {"References": module["References"]} if "References" in module else {}
    found = {shown: sections[title] for title, shown in _SHOWN.items() if title in sections}
    return Page(kind=kind, name=name, text=sections[""], parts={**found, **parts}, file=file_of(about))


def sections_of(docstring: str | None) -> dict[str, str]:
    r"""Return the sections of a NumPy docstring by title; what comes before the first has no title.

    Examples
    --------
    >>> sections_of("Add `a`.\n\nReferences\n----------\nEuclid.\n")
    {'': 'Add a.', 'References': 'Euclid.'}
    """
    parts = _SECTION.split(docstring or "")
    titles = ["", *parts[1::2]]
    return {title: plain(text) for title, text in zip(titles, parts[::2], strict=True)}


def plain(text: str) -> str:
    """Return text without the marks of reStructuredText."""
    return re.sub(r"`{1,2}([^`]+)`{1,2}", r"\1", text.strip())


def file_of(about: Any) -> str:
    """Return the file of a class or function, from the name of its package on."""
    made: Callable[..., Any] = inspect.unwrap(about)
    file, package = (
        Path(inspect.getsourcefile(made) or ""),
        (inspect.getmodule(made) or made).__name__.partition(".")[0],
    )
    parts = file.parts
    last = len(parts) - 1 - parts[::-1].index(package) if package in parts else 0
    return "/".join(parts[last:]) if last else str(file)
