"""Pages whose blocks are run: what their heads and indented lines say."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]

_BLOCK = re.compile(r"^```(python|diff) (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> list[tuple[str, str, str]]:
    """Return kind (python or diff), path and body of each block of a page that names a file in its head."""
    return _BLOCK.findall(page)


def commands(page: str, program: str) -> list[str]:
    """Return the arguments of each indented line of a page that calls a program."""
    return re.findall(rf"^    {re.escape(program)} (.+)$", page, re.MULTILINE)


def put(page: str, folder: Path) -> None:
    """Put every block of a page where its head says: files are written, changes made to the files there."""
    for kind, name, body in blocks(page):
        path = folder / name
        path.write_text(body if kind == "python" else applied(path.read_text(), body))


def applied(source: str, hunk: str) -> str:
    """Return a text with a hunk applied; the lines that are not new stand in the text exactly once."""
    lines = hunk.splitlines()
    before, after = ("\n".join(line[1:] for line in lines if not line.startswith(mark)) for mark in "+-")
    assert source.count(before) == 1, f"the page's lines stand {source.count(before)} times in the file:\n{before}"
    return source.replace(before, after)
