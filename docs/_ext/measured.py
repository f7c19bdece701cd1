"""Measured numbers on the site: each is a link to n, interval, date and command at the end of its page.

A page says ``2.3 s<!-- measured: page.json#making -->``, as README does; here the mark becomes the role
``{measured}`2.3 s <page.json#making>` ``. ``{measured}`page.json#making` `` alone inserts the number as it is in the
file, and the directive ``{measured} page.json`` a table of a whole file.
"""

import re
from collections.abc import Iterable
from datetime import date

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from evidence import (
    DATE_MARK,
    INTERVAL_MARK,
    MARK,
    OLD,
    EvidenceError,
    Measured,
    about,
    evidence_names,
    measured,
    plain,
)

TITLE = "Where the numbers are from"
_ROLE = re.compile(r"(?:(?P<text>.+?) )?<?(?P<file>[\w.-]+\.json)#(?P<path>[\w.-]+)>?$")


class Number(nodes.reference):
    """A number in the text that leads to its line at the end of the page."""


def to_roles(app: Sphinx, name: str, source: list[str]) -> None:
    """Replace the marks of a page by roles."""
    text = MARK.sub(_role, source[0])
    source[0] = DATE_MARK.sub(r"\g<date>", INTERVAL_MARK.sub(r"[\g<low>, \g<high>]", text))


def from_docstring(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Leave out the marks of a docstring."""
    lines[:] = re.sub(r"<!-- (?:measured|interval|date): .*? -->", "", "\n".join(lines)).split("\n")


def _role(mark: re.Match[str]) -> str:
    text = mark[0].removesuffix(OLD).partition("<!--")[0]
    return f"{{measured}}`{text} <{mark['file']}#{mark['path']}>`"


def insert(role, rawtext, text, lineno, inliner, options=None, content=None):
    """Insert a number."""
    given = _ROLE.match(text)
    try:
        if given is None:
            raise EvidenceError(f"'{text}' is not FILE.json#path.")
        found = measured(given["file"], given["path"])
    except EvidenceError as error:
        message = inliner.reporter.error(str(error), line=lineno)
        return [inliner.problematic(rawtext, rawtext, message)], [message]
    node = Number(rawtext, given["text"] or value(found), refid=_anchor(given["file"], given["path"]), internal=True)
    node["classes"] += ["measured", *(["old"] if found.outdated else [])]
    node["reftitle"] = told(found)
    node["source_of"] = (given["file"], given["path"])
    return [node], []


def value(found: Measured) -> str:
    """Return a number with its unit."""
    digits = max(0, len(f"{found.value:.10f}".rstrip("0").partition(".")[2]))
    unit = "" if found.unit in ("", "share") else f" {found.unit}"
    return plain(found.value, like=f"0.{'0' * digits}" if digits else "0") + unit


def told(found: Measured) -> str:
    """Return what a reader needs to judge a number, in one line."""
    parts = [found.what]
    if found.n is not None:
        parts.append(f"n = {found.n:,}")
    if found.interval is not None:
        parts.append(f"{found.spread} {_interval(found)}")
    parts.append(day(found.date))
    if found.outdated:
        parts.append(f"old: {found.outdated}")
    return "; ".join(parts)


def day(text: str) -> str:
    """Return a day in words."""
    of = date.fromisoformat(text)
    return f"{of.day} {of:%B %Y}"


def _interval(found: Measured) -> str:
    return "–" if found.interval is None else f"[{found.interval[0]:g}, {found.interval[1]:g}]"


def _anchor(file: str, path: str) -> str:
    return nodes.make_id(f"evidence-{file}-{path}")


def append_sources(app: Sphinx, document: nodes.document) -> None:
    """Say at the end of a page where its numbers are from."""
    used = list(dict.fromkeys(node["source_of"] for node in document.findall(Number)))
    if not used:
        return
    top = next(document.findall(nodes.section), document)
    section = nodes.section(ids=["where-the-numbers-are-from"], classes=["evidence"])
    section += nodes.title("", TITLE)
    for file in dict.fromkeys(file for file, _ in used):
        section += of_file(file, [path for name, path in used if name == file], up="../" * app.env.docname.count("/"))
    top += section


def of_file(file: str, paths: Iterable[str], *, up: str, anchors: bool = True) -> list[nodes.Node]:
    """Return the paragraph about an evidence file and the table of some of its numbers."""
    found = {path: measured(file, path) for path in paths}
    one = next(iter(found.values()))
    head = nodes.paragraph()
    head += [nodes.Text(f"{about(file)}: "), nodes.literal("", one.command), nodes.Text(f"; {one.machine}. ")]
    head += nodes.reference("", file, refuri=f"{up}evidence/{file}", internal=False)
    rows = [
        (
            path,
            (
                value(each),
                each.what + (f" ({each.outdated})" if each.outdated else ""),
                _n(each),
                _spread(each),
                day(each.date),
            ),
        )
        for path, each in found.items()
    ]
    body = nodes.tbody()
    for path, cells in rows:
        row = nodes.row(ids=[_anchor(file, path)] if anchors else [])
        row += [nodes.entry("", nodes.paragraph("", cell)) for cell in cells]
        body += row
    header = nodes.row()
    header += [nodes.entry("", nodes.paragraph("", name)) for name in ("number", "of what", "n", "interval", "date")]
    group = nodes.tgroup(cols=5)
    group += [nodes.colspec(colwidth=width) for width in (12, 44, 8, 20, 16)]
    group += [nodes.thead("", header), body]
    return [head, nodes.table("", group, classes=["evidence"])]


def _n(found: Measured) -> str:
    return "–" if found.n is None else f"{found.n:,}"


def _spread(found: Measured) -> str:
    other = "" if found.interval is None or found.spread == "95% interval" else f" ({found.spread})"
    return f"{_interval(found)}{other}"


class MeasuredTable(Directive):
    """Insert the numbers of a whole evidence file."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return paragraph and table."""
        (file,) = self.arguments
        try:
            up = "../" * self.state.document.settings.env.docname.count("/")
            return of_file(file, evidence_names(file), up=up, anchors=False)
        except EvidenceError as error:
            raise self.error(str(error)) from error


def setup(app: Sphinx) -> dict[str, bool]:
    """Register role, directive and the list at the end of each page."""
    app.add_node(
        Number, html=(lambda self, node: self.visit_reference(node), lambda self, node: self.depart_reference(node))
    )
    app.add_role("measured", insert)
    app.add_directive("measured", MeasuredTable)
    app.connect("source-read", to_roles)
    app.connect("autodoc-process-docstring", from_docstring)
    app.connect("doctree-read", append_sources)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
