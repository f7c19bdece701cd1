"""Put the results of ``epsball chapter run`` into the documentation: ``python tools/gallery.py runs/chapter``.

Writes ``docs/chapter/ITEM.json`` (findings, date, cost), ``docs/chapter/ITEM.webp`` (the figure) and the page
``docs/gallery.md``.
"""

import json
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from epsball.chapter.registry import ITEMS
from epsball.files import write_atomically, write_json

DOCS = Path(__file__).parent.parent / "docs"
WIDTH = 900


def main(run: Path) -> None:
    """Copy what was measured and write the page."""
    lines = [
        "# Gallery of the chapter",
        "",
        "Made by `python tools/gallery.py RUN` from one run of `epsball chapter run all`.",
        "",
    ]
    for item in ITEMS:
        folder = run / item.name
        if not (folder / "findings.json").exists():
            continue
        found = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
        numbers = json.loads((folder / "numbers.json").read_text(encoding="utf-8"))
        measured = {"date": numbers["date"], "cpu_seconds": numbers["cpu_seconds"]}
        write_json(DOCS / "chapter" / f"{item.name}.json", {**found, **measured})
        _copy_figure(folder / "figure.png", DOCS / "chapter" / f"{item.name}.webp")
        lines += section(item.name, {**found, **measured})
    write_atomically(DOCS / "gallery.md", ("\n".join(lines)).encode())


def _copy_figure(source: Path, target: Path) -> None:
    image = Image.open(source).convert("RGB")
    image.thumbnail((WIDTH, WIDTH))
    image.save(target, quality=80, method=6)


def section(name: str, found: dict[str, Any]) -> list[str]:
    """Return the lines about an item, from its results."""
    lines = [f"## {found['section']} {found['title']}", "", f"    epsball chapter run {name}", ""]
    lines += [f"![{found['title']}](chapter/{name}.webp)", ""]
    for one in found["findings"]:
        lines.append(f"- *{one['chapter']}* **{one['verdict']}**: {one['finding']}")
        lines += [f"  {head}: {one[key]}" for key, head in (("source", "Source"), ("truth", "Instead")) if one[key]]
    stated = f"Size {found['size']}, {found['cpu_seconds']:.0f} CPU seconds without training, {found['date']}."
    return [*lines, "", stated, ""]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
