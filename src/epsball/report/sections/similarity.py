"""Similarity with a reference, where the run's folder holds one."""

import csv
import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np

from epsball.auditing.manifest import RUNS
from epsball.auditing.reading import Summary
from epsball.auditing.reading.drawing import matrix_figure
from epsball.auditing.reading.run import UNREADABLE
from epsball.report.sections.section import Section, Table
from epsball.report.svg import svg_of

_SECTION = Section(id="similarity", short="Similarity", title="Similarity of representations", term="similarity")


def similarity(summary: Summary) -> Section:
    """Return the section."""
    reading = summary.reading
    folder = next((here for here in _places(reading.folder) if (here / "similarity.csv").exists()), reading.folder)
    found = _matrix(folder / "similarity.csv")
    if found is None:
        model, data = reading.words or ("MODEL", "DATA")
        command = (
            f"epsball similarity {shlex.join([model, 'OTHER', data])} --out {reading.address}\n"
            f"epsball report {reading.address}"
        )
        return _SECTION.absent("the model was compared with no other one", command)
    rows, names, values = found
    one, other = _models(folder / "similarity.json") or ("the audited model", "the reference")
    table = Table(
        caption=f"CKA, layers of {one} down, of {other} across",
        header=("layer", *names),
        rows=[[row, *(_cell(value) for value in line)] for row, line in zip(rows, values.tolist(), strict=True)],
    )
    figure = svg_of(matrix_figure(rows, names, values, "CKA"), "Similarity of layers")
    lead = f"Layers of {one} upwards, of {other} to the right. 1: alike up to rotation and scale; 0: unrelated."
    return replace(_SECTION, lead=lead, figure=figure, table=table)


def _places(folder: Path) -> list[Path]:
    """Return where a similarity is looked for: with the run, and with the runs of other balls that it was made with."""
    beside = folder.resolve().parent
    return [folder, folder / "similarity", *([beside] if (beside / RUNS).exists() else [])]


def _matrix(file: Path) -> tuple[list[str], list[str], np.ndarray] | None:
    """Return row names, column names and values of a similarity's file, or None."""
    try:
        with file.open(newline="") as content:
            head, *lines = list(csv.reader(content))
        values = np.array([[float(value or "nan") for value in line[1:]] for line in lines])
        return ([line[0] for line in lines], head[1:], values) if values.ndim == 2 and values.size else None
    except (OSError, ValueError):
        return None


def _models(file: Path) -> tuple[str, str] | None:
    """Return what the two models are called, where that is recorded."""
    try:
        one, other = json.loads(file.read_text())["models"]
        return str(one), str(other)
    except UNREADABLE:
        return None


def _cell(value: float) -> str:
    return "undefined" if np.isnan(value) else f"{value:.3f}"
