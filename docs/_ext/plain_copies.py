"""Beside each page its text as Markdown (``PAGE.md``), and ``llms.txt``, which lists them: for programs that read."""

import inspect
import json
import pydoc
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from shutil import copyfile, copytree

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

import epsball
from notebooks import to_markdown

SUMMARY = "How robust a classifier is really, provably, and compared with what is possible at all."
MOST = 200
"""Characters of a page's first sentence in the list."""


def write_copies(app: Sphinx, exception: Exception | None) -> None:
    """Write the texts of the pages, their list, and the evidence files that pages link to."""
    if exception is not None or app.builder.format != "html":
        return
    out, docs = Path(app.outdir), Path(app.srcdir)
    for name in app.env.found_docs:
        target = out / f"{name}.md"
        target.parent.mkdir(parents=True, exist_ok=True)
        source = Path(app.env.doc2path(name))
        if source.suffix == ".md":
            copyfile(source, target)
        else:
            target.write_text(_text(name, source), encoding="utf-8")
    copytree(docs / "evidence", out / "evidence", dirs_exist_ok=True)
    (out / "llms.txt").write_text(
        "\n".join([f"# {app.config.project}", "", f"> {SUMMARY}", *_list(app), ""]), encoding="utf-8"
    )


def _text(name: str, source: Path) -> str:
    """Return the text of a page that is a notebook, or made of docstrings."""
    if source.suffix == ".ipynb":
        return to_markdown(json.loads(source.read_text(encoding="utf-8")), pictures=False)
    about = attrgetter(name.rpartition("/")[2].removeprefix("epsball."))(epsball)
    text = pydoc.render_doc(about, renderer=pydoc.plaintext) if inspect.isfunction(about) else _of_class(about)
    return f"# {name.rpartition('/')[2]}\n\n```text\n{text.strip()}\n```\n"


def _of_class(about: type) -> str:
    own = {name: value for name, value in vars(about).items() if not name.startswith("_") and inspect.getdoc(value)}
    parts = [f"class {about.__name__}", inspect.getdoc(about) or ""]
    parts += [
        f"{name}: {inspect.getdoc(value)}"
        for name, value in own.items()
        if callable(value) or isinstance(value, property)
    ]
    return "\n\n".join(parts)


def _list(app: Sphinx) -> Iterator[str]:
    """Return the pages by the captions of the site, each with its first sentence."""
    listed = set()
    for tree in app.env.get_doctree(app.config.root_doc).findall(addnodes.toctree):
        yield f"\n## {tree['caption']}\n"
        for _, name in tree["entries"]:
            listed.add(name)
            yield _line(app, name)
    yield "\n## Optional\n"
    yield from (_line(app, name) for name in sorted(app.env.found_docs - listed))


def _line(app: Sphinx, name: str) -> str:
    first = next((node.astext() for node in app.env.get_doctree(name).findall(nodes.paragraph)), "")
    sentence = " ".join(first.partition(". ")[0].split()).rstrip(".:")
    return f"- [{app.env.titles[name].astext()}]({name}.md): {sentence[:MOST]}"


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the copies when the site is built."""
    app.connect("build-finished", write_copies)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
