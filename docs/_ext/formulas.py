"""Pages of the reference show the formula of what they are about, from docs/formulas.toml, under the first sentence."""

import tomllib
from functools import cache
from pathlib import Path

from sphinx.application import Sphinx

LONGEST = 100
"""Characters of LaTeX that fit on one line of a page; a longer formula is cut where its parts stand apart."""


@cache
def formulas(docs: Path) -> dict[str, str]:
    """Return LaTeX by the name of a public object."""
    return tomllib.loads((docs / "formulas.toml").read_text(encoding="utf-8"))


def show(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Put the formula behind the first paragraph of a docstring."""
    latex = formulas(Path(app.srcdir)).get(name.removeprefix("epsball."))
    if latex is None:
        return
    end = next((number for number, line in enumerate(lines) if not line.strip()), len(lines))
    parts = [latex] if len(latex) <= LONGEST else [part.strip(" ,;") for part in latex.split(r"\qquad")]
    lines[end:end] = [line for part in parts for line in ("", ".. math::", "", f"   {part}", "")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register it."""
    app.connect("autodoc-process-docstring", show, priority=850)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
