"""What the theme's pages lack for readers who do not see them, or have no mouse: names, levels, a heading, focus."""

import re
from pathlib import Path

from sphinx.application import Sphinx

MENDED = (
    (r'<p class="caption" role="heading">', '<p class="caption" role="heading" aria-level="2">'),
    (r'<aside class="sidebar-drawer">', '<aside class="sidebar-drawer" aria-label="Site">'),
    (r'<aside class="toc-drawer( no-toc)?">', r'<aside class="toc-drawer\1" aria-label="On this page">'),
    (r'<pre id="', '<pre tabindex="0" id="'),
    (r"<pre>", '<pre tabindex="0">'),
    (r'(<div id="search-results">)', r"<h1>Search</h1>\n\1"),
)
"""Patterns in a page, and what stands there instead."""


def mend(app: Sphinx, exception: Exception | None) -> None:
    """Mend the pages of a site that was built."""
    if exception is not None or app.builder.format != "html":
        return
    for file in Path(app.outdir).rglob("*.html"):
        text = mended = file.read_text(encoding="utf-8")
        for pattern, instead in MENDED:
            mended = re.sub(pattern, instead, mended)
        if mended != text:
            file.write_text(mended, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Mend the pages when the site is built."""
    app.connect("build-finished", mend)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
