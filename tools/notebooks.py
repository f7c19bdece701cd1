"""Run the notebooks and keep their outputs: ``python tools/notebooks.py`` (needs nbclient and ipykernel)."""

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "docs" / "notebooks"


def execute(path: Path) -> Any:
    """Return a notebook with the outputs of today, run in an empty folder."""
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(book, timeout=900, resources={"metadata": {"path": folder}}, record_timing=False).execute()
    for cell in book.cells:
        cell.metadata.clear()
        if cell.cell_type == "code":
            cell.outputs = _joined(output for output in cell.outputs if output.get("name") != "stderr")
    return book


def _joined(outputs: Iterable[Any]) -> list[Any]:
    """Return outputs with what was printed in pieces as one."""
    kept: list[Any] = []
    for output in outputs:
        if kept and output.output_type == kept[-1].output_type == "stream":
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


def main(names: list[str]) -> None:
    """Run notebooks by name, or all."""
    import nbformat

    for path in sorted(FOLDER.glob("*.ipynb")):
        if not names or path.stem in names:
            book = execute(path)
            book.metadata["language_info"] = {"name": "python"}
            nbformat.write(book, path)
            print(f"{path.name}: {sum(cell.cell_type == 'code' for cell in book.cells)} cells run")


if __name__ == "__main__":
    main(sys.argv[1:])
