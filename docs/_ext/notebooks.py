"""Notebooks as pages: their cells and stored outputs become Markdown; nothing is executed."""

import json
from typing import Any

from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx


class NotebookParser(MystParser):
    """Reads a notebook as the Markdown it amounts to."""

    supported = ("notebook",)


def to_markdown(notebook: dict[str, Any], *, pictures: bool = True) -> str:
    """Return the text of a notebook, its figures inside it or left out."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        parts += [text for output in cell["outputs"] if (text := _output(output, pictures=pictures))]
    return "\n\n".join(parts) + "\n"


def _output(output: dict[str, Any], *, pictures: bool) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        picture = "".join(data["image/png"]).replace("\n", "")
        return f"![the figure that the cell above draws](data:image/png;base64,{picture})" if pictures else "(a figure)"
    text = "".join(output.get("text", data.get("text/plain", "")))
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""


def read(app: Sphinx, name: str, source: list[str]) -> None:
    """Put the Markdown in the place of a notebook's JSON, before what reads marks."""
    if str(app.env.doc2path(name)).endswith(".ipynb"):
        source[0] = to_markdown(json.loads(source[0]))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the kind of page."""
    app.add_source_suffix(".ipynb", "notebook")
    app.add_source_parser(NotebookParser)
    app.connect("source-read", read, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
