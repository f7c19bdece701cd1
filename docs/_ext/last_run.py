"""Say at the end of a page when its commands last ran, from docs/evidence/blocks.toml."""

import tomllib
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

from measured import day

_HELD = "a test holds their options to the program"


def say(app: Sphinx, document: nodes.document) -> None:
    """Append the sentence to a page with commands."""
    known = tomllib.loads((Path(app.srcdir) / "evidence" / "blocks.toml").read_text(encoding="utf-8"))
    sentence = told(known, f"docs/{app.env.docname}.md")
    if sentence:
        top = next(document.findall(nodes.section), document)
        top += nodes.paragraph("", sentence, classes=["last-run"])


def told(known: dict[str, dict[str, str]], page: str) -> str:
    """Return the sentence about a page, or an empty text."""
    if page in known["tested"]:
        return f"Tests run the examples of this page: {known['tested'][page]}."
    if page in known["ran"]:
        date, _, how = known["ran"][page].partition(", ")
        return f"The examples of this page last ran on {day(date)}{f' ({how})' if how else ''}; {_HELD}."
    if page in known.get("not_recorded", {}):
        return f"When its examples last ran was not recorded; they need {known['not_recorded'][page]}; {_HELD}."
    return ""


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the sentence, before the list of numbers' sources."""
    app.connect("doctree-read", say, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
