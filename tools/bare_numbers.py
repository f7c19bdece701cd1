"""Refuse measured numbers that stand bare in prose: ``python tools/bare_numbers.py``.

A percentage, a time, a size or "x times" in README, a page or a docstring needs its mark:
`<!-- measured: FILE#path -->`, `<!-- published: SOURCE -->`, `<!-- computed: FROM WHAT -->` (a formula) or
`<!-- setting -->` (an option or a limit).
`docs/evidence/allowed.toml` names what needs none: phrases, whole files with the reason, and per file how many are
still bare; that number may only fall.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from doctest import DocTestParser
from pathlib import Path

from evidence import EVIDENCE, NUMBER, OLD, ROOT, UNIT, documents

ALLOWED = EVIDENCE / "allowed.toml"

_WORDS = "two|three|four|five|six|seven|eight|nine|ten|twenty|thirty|hundred|thousand"
_PARTS = r"a (?:half|third|quarter|fifth|tenth|hundredth) (?:of|as)"
_UNITS = r"(?:%|percent\b|times\b|CPU|seconds?\b|s\b|ms\b|minutes?\b|min\b|hours?\b|MB\b|KB\b|GB\b)"
_IN_WORDS = rf"\b(?:{_WORDS}) (?:times|seconds|minutes|hours|percent)\b"
_IN_PARTS = rf"\b{_PARTS}[^.;]*\b(?:cost|time|passes)\b"
BARE = re.compile(rf"{NUMBER}[ -]?{_UNITS}|{_IN_WORDS}|{_IN_PARTS}")
"""What looks like a measured number."""

_UNITED = re.compile(rf"\d[ -]?{_UNITS}|(?:{_WORDS}) \w|{_PARTS}")
"""What a text with such a number has in it; cheap."""

_KINDS = "measured|published|computed|setting"
_MARKED = re.compile(
    rf"{NUMBER}(?: of {NUMBER})?[ -]?{UNIT}?(?:\*\*)?<!-- (?:{_KINDS})\b.*?-->(?:{re.escape(OLD)})?", re.DOTALL
)
_NOT_PROSE = [
    re.compile(pattern, re.MULTILINE | re.DOTALL)
    for pattern in (
        r"^```.*?^```",
        r"^(?: {4}|\t).*?$",
        r"<!--.*?-->",
        r"``.*?``",
        r"`[^`]*`",
        r"(?<=\])\(.*?\)",
        r"\$[^$\n]*\$",
    )
]


@dataclass(frozen=True, kw_only=True)
class Bare:
    """A number without mark."""

    file: str
    line: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """What needs no mark.

    Parameters
    ----------
    phrases
        Patterns of phrases whose numbers are not measured, by what they are.
    files
        Reason by file that is left out as a whole.
    counts
        Numbers still bare, by file.
    """

    phrases: dict[str, re.Pattern[str]]
    files: dict[str, str]
    counts: dict[str, int]


def allowed() -> Allowed:
    """Return the allow-list."""
    given = tomllib.loads(ALLOWED.read_text(encoding="utf-8"))
    return Allowed(
        phrases={name: re.compile(pattern) for name, pattern in given["phrases"].items()},
        files=given["files"],
        counts=given["still_bare"],
    )


def bare(text: str, phrases: dict[str, re.Pattern[str]]) -> Iterator[tuple[int, str]]:
    """Return line and text of each bare number of a Markdown text."""
    for pattern in (_MARKED, *_NOT_PROSE, *phrases.values()):
        text = pattern.sub(_blank, text)
    for found in BARE.finditer(text):
        yield text.count("\n", 0, found.start()) + 1, found[0]


def _blank(found: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", found[0])


def docstrings(source: str) -> str:
    """Return a source with its docstrings only, on their lines."""
    kept = [""] * (source.count("\n") + 1)
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        text = ast.get_docstring(node)
        if text is None:
            continue
        for k, line in enumerate(_without_examples(text).splitlines()):
            kept[node.body[0].lineno - 1 + k] = line.strip()
    return "\n".join(kept)


def _without_examples(text: str) -> str:
    """Return a docstring without the lines that doctest compares."""
    for example in reversed(DocTestParser().get_examples(text)):
        length = (example.source + example.want).count("\n")
        lines = text.splitlines()
        lines[example.lineno : example.lineno + length] = [""] * length
        text = "\n".join(lines)
    return text


def found_in(path: Path, phrases: dict[str, re.Pattern[str]]) -> list[Bare]:
    """Return the bare numbers of a file."""
    text = path.read_text(encoding="utf-8")
    if not _UNITED.search(text):
        return []
    prose = docstrings(text) if path.suffix == ".py" else text
    name = path.relative_to(ROOT).as_posix()
    return [Bare(file=name, line=line, text=number) for line, number in bare(prose, phrases)]


def complaints() -> list[str]:
    """Return what is wrong, in sentences."""
    known = allowed()
    said = [
        f"docs/evidence/allowed.toml names {file}, which is not there."
        for file in known.files
        if not (ROOT / file).exists()
    ]
    for path in documents():
        name = path.relative_to(ROOT).as_posix()
        if name in known.files:
            continue
        found, most = found_in(path, known.phrases), known.counts.get(name, 0)
        if len(found) > most:
            said += [f"{one.file}:{one.line}: '{one.text.strip()}' is bare." for one in found]
            said.append(
                f"{name} has {len(found)} bare numbers, {most} are allowed. Bind them: tools/bare_numbers.py says how."
            )
        elif len(found) < most:
            said.append(f"{name} has {len(found)} bare numbers left: lower its {most} in docs/evidence/allowed.toml.")
    return said


if __name__ == "__main__":
    lines = complaints()
    print("\n".join(lines) or "no measured number stands bare")
    sys.exit(1 if lines else 0)
