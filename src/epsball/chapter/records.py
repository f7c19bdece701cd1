"""The folder of an item: its tables, its figure and what was found, written once."""

import csv
import hashlib
import inspect
import io
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from epsball._version import __version__
from epsball.chapter.claim import Column, Decision, Table, Tables
from epsball.chapter.item import Item
from epsball.chapter.laboratory import Laboratory
from epsball.chapter.networks import described
from epsball.errors import InputError
from epsball.figures import png
from epsball.files import write_atomically, write_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUMBERS, FINDINGS, FIGURE, PARTS = "numbers.json", "findings.json", "figure", "parts"


def identity(item: Item, laboratory: Laboratory) -> dict[str, object]:
    """Return what the tables of an item depend on."""
    source = inspect.getsource(sys.modules[item.measure.__module__])
    return {
        "item": item.name,
        "size": laboratory.size,
        "seed": laboratory.seed,
        "epsball": __version__,
        "data": sorted(laboratory.folders),
        "code": hashlib.sha256(source.encode()).hexdigest(),
        "networks": described(item.networks, laboratory.size),
    }


def kept_tables(item: Item, laboratory: Laboratory) -> Tables | None:
    """Return the tables that lie in the item's folder, if they are of this item, size, seed and code."""
    path = laboratory.out / item.name / NUMBERS
    if not path.exists():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not a file of this run ({error}); remove it, or choose another folder.") from error
    kept = document.get("identity", {})
    if kept.get("size") != laboratory.size:
        raise InputError(f"{path} is of size {kept.get('size')}, not {laboratory.size}; choose another folder (--out).")
    return document["tables"] if kept == identity(item, laboratory) else None


def remembered(item: Item, laboratory: Laboratory, name: str, measure: Callable[[], Table]) -> Table:
    """Return a part of an item's tables, measured now unless it lies in the item's folder: a killed run goes on."""
    path, known = laboratory.out / item.name / PARTS / f"{name}.json", identity(item, laboratory)
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["identity"] == known:
            laboratory.earlier.append(kept["cpu_seconds"])
            return kept["table"]
    begun = laboratory.spent()
    table = {column: [_plain(value) for value in values] for column, values in measure().items()}
    seconds = laboratory.spent() - begun
    write_json(path, {"identity": known, "cpu_seconds": seconds, "table": table})
    return table


def write_tables(item: Item, laboratory: Laboratory, tables: Tables, seconds: float) -> Tables:
    """Write the tables of an item, each as CSV too, and return them as they will be read again."""
    folder = laboratory.out / item.name
    plain = {name: {column: [_plain(value) for value in values] for column, values in table.items()}
             for name, table in tables.items()}  # fmt: skip
    for name, table in plain.items():
        write_atomically(folder / f"{name}.csv", _csv(table).encode())
    stamp = {"date": time.strftime("%Y-%m-%d", time.gmtime()), "cpu_seconds": round(seconds, 1)}
    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "torch": str(torch.__version__)}
    write_json(folder / NUMBERS, {"identity": identity(item, laboratory), **stamp, "machine": machine, "tables": plain})
    return plain


def write_findings(item: Item, laboratory: Laboratory, decisions: Mapping[str, Decision]) -> None:
    """Write what was found of each claim."""
    found = [
        {
            "claim": claim.name,
            "chapter": claim.says,
            "criterion": claim.criterion,
            "source": claim.source,
            "truth": claim.truth,
            "verdict": decisions[claim.name].verdict,
            "finding": decisions[claim.name].sentence,
        }
        for claim in item.claims
    ]
    head = {"item": item.name, "section": item.section, "title": item.title, "size": laboratory.size}
    write_json(laboratory.out / item.name / FINDINGS, {**head, "findings": found})


def write_figure(item: Item, laboratory: Laboratory, figure: "Figure") -> None:
    """Write the figure as PNG and SVG."""
    folder = laboratory.out / item.name
    if not figure.get_suptitle():
        figure.suptitle(item.title)
    write_atomically(folder / f"{FIGURE}.png", png(figure))
    drawn = io.BytesIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None})
    write_atomically(folder / f"{FIGURE}.svg", drawn.getvalue())


def read_findings(folder: Path) -> dict[str, Any]:
    """Return the findings of an item's folder."""
    return json.loads((folder / FINDINGS).read_text(encoding="utf-8"))


def _plain(value: Any) -> float | int | str | bool | None:
    """Return a value as JSON knows it; what is not finite is None."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _csv(table: Mapping[str, Column] | Table) -> str:
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return sink.getvalue()
