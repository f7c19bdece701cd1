"""Put the results of ``epsball chapter run`` into the documentation: ``python tools/gallery.py runs/chapter``.

Writes ``docs/chapter/ITEM.json`` (findings, shares, small tables, date, machine, cost), ``docs/chapter/ITEM.webp`` (the
figure), ``docs/chapter/fast/trainings.json`` (what each training took) and the page ``docs/gallery.md``. The results
of a run of size default go to ``docs/chapter/default``, without figures; the page says of each item what was found
there, or that it was not run.
"""

import json
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from epsball.chapter.laboratory import Laboratory
from epsball.chapter.registry import ITEMS
from epsball.chapter.reproduction import told
from epsball.files import write_atomically, write_json

DOCS = Path(__file__).parent.parent / "docs"
CHAPTER, DEFAULT = DOCS / "chapter", DOCS / "chapter" / "default"
WIDTH = 1200
TRAININGS = "fast/trainings.json"
ROWS = 20
"""Longer tables are told by the shares of their 0-1 columns."""

DATA = "--size default --mnist DIR --fashion DIR --cifar10 DIR --out runs/chapter-default"


def main(*runs: Path) -> None:
    """Copy what was measured and write the page."""
    for run in runs:
        folders = [run / item.name for item in ITEMS]
        sizes = {_copy(folder) for folder in folders if (folder / "findings.json").exists()}
        costs = Laboratory(size="fast", out=run).costs()
        if costs and sizes == {"fast"}:
            (CHAPTER / TRAININGS).parent.mkdir(exist_ok=True)
            write_json(CHAPTER / TRAININGS, costs)
    write_atomically(DOCS / "gallery.md", page().encode())


def _copy(folder: Path) -> str:
    """Copy the results of an item and return their size."""
    found = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
    numbers = json.loads((folder / "numbers.json").read_text(encoding="utf-8"))
    measured = {key: numbers[key] for key in ("date", "machine", "cpu_seconds")}
    data = {"data": numbers["identity"]["data"]} if found["size"] != "fast" else {}
    target = CHAPTER if found["size"] == "fast" else DEFAULT
    write_json(target / f"{folder.name}.json", {**found, **data, **measured, "numbers": condensed(numbers["tables"])})
    if found["size"] == "fast":
        _copy_figure(folder / "figure.png", CHAPTER / f"{folder.name}.webp")
    return found["size"]


def condensed(tables: dict[str, dict[str, list[Any]]]) -> dict[str, dict[str, Any]]:
    """Return short tables as they are, and of longer ones how many rows they have and the shares of 0-1 columns."""
    kept: dict[str, dict[str, Any]] = {}
    for name, table in tables.items():
        rows = max(map(len, table.values()), default=0)
        if rows <= ROWS:
            kept[name] = table
            continue
        shares = {column: _share(values) for column, values in table.items() if {*map(type, values)} == {bool}}
        if shares:
            kept[name] = {"rows": rows, "shares": shares}
    return kept


def _share(values: list[bool]) -> float:
    return round(sum(values) / len(values), 4)


def _copy_figure(source: Path, target: Path) -> None:
    image = Image.open(source).convert("RGB")
    image.thumbnail((WIDTH, WIDTH))
    image.save(target, quality=80, method=6)


def page() -> str:
    """Return the page, from the results in the documentation."""
    lines = [
        "# Gallery of the chapter",
        "",
        "Made by `python tools/gallery.py RUN` from runs of `epsball chapter run`, size `fast`; what size `default` "
        "found stands below each item.",
        "",
    ]
    trainings = read(CHAPTER / TRAININGS)
    if trainings:
        lines += [f"Trainings of size `fast`: {told(trainings)}.", ""]
    for item in ITEMS:
        found, larger = (read(folder / f"{item.name}.json") for folder in (CHAPTER, DEFAULT))
        if found is not None:
            lines += section(item.name, found, larger)
    return "\n".join(lines)


def read(path: Path) -> dict[str, Any] | None:
    """Return a result in the documentation; None where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def section(name: str, found: dict[str, Any], larger: dict[str, Any] | None) -> list[str]:
    """Return the lines about an item, from its results."""
    lines = [f"## {found['section']} {found['title']}", "", f"    epsball chapter run {name}", ""]
    lines += [f"[![{found['title']}](chapter/{name}.webp)](chapter/{name}.webp)", ""]
    for one in found["findings"]:
        lines.append(f"- *{one['chapter']}* **{one['verdict']}**: {one['finding']}")
        lines += [f"  {head}: {one[key]}" for key, head in (("source", "Source"), ("truth", "Instead")) if one[key]]
    return [*lines, "", stated(found), "", *_larger(name, larger), ""]


def stated(found: dict[str, Any]) -> str:
    """Return size, cost, machine and day of a result."""
    machine, spent = found["machine"], found["cpu_seconds"]
    cost = "less than a CPU second" if spent < 1 else f"{spent:.0f} CPU second{'s' if round(spent) != 1 else ''}"
    where = f"{machine['cores']} cores ({machine['processor']}), torch {machine['torch']}"
    return f"Size {found['size']}, {cost} beside the training of networks; {where}; {found['date']}."


def _larger(name: str, found: dict[str, Any] | None) -> list[str]:
    """Return what a run of size default found, or how to make it."""
    if found is None:
        return [f"Size default: not run; `epsball chapter run {name} {DATA}`."]
    lines = [f"- {one['claim']}: **{one['verdict']}**, {one['finding']}" for one in found["findings"]]
    return [stated(found) + " Found there:", "", *lines]


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
