"""Beside each page its source (``PAGE.md``), and ``llms.txt``, which lists them: for readers that are programs."""

from pathlib import Path
from shutil import copyfile

from sphinx.application import Sphinx

SUMMARY = "How robust a classifier is really, provably, and compared with what is possible at all."


def write_copies(app: Sphinx, exception: Exception | None) -> None:
    """Copy the sources of the pages and write their list."""
    if exception is not None or app.builder.format != "html":
        return
    out = Path(app.outdir)
    lines = [f"# {app.config.project}", "", f"> {SUMMARY}", ""]
    for name in sorted(app.env.found_docs):
        source = Path(app.env.doc2path(name))
        if source.suffix == ".md":
            target = out / f"{name}.md"
            target.parent.mkdir(parents=True, exist_ok=True)
            copyfile(source, target)
            lines.append(f"- [{app.env.titles[name].astext()}]({name}.md)")
    (out / "llms.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the copies when the site is built."""
    app.connect("build-finished", write_copies)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
