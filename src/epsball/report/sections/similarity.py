"""Similarity with a reference, where the audit had one."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from epsball.auditing.reading import Summary
from epsball.auditing.reading.drawing import matrix_figure
from epsball.report.sections.section import Section, Table
from epsball.report.svg import svg_of

_SECTION = Section(id="similarity", short="Similarity", title="Similarity of representations", term="similarity")


def similarity(summary: Summary) -> Section:
    """Return the section."""
    found = _matrix(summary.reading.folder / "similarity.csv")
    if found is None:
        command = "epsball audit MODEL DATA --ball BALL --reference OTHER --out FOLDER"
        return _SECTION.absent("the model was compared with no other one", command)
    rows, names, values = found
    table = Table(
        caption="CKA, layers of the audited model down, of the reference across",
        header=("layer", *names),
        rows=[[row, *(f"{value:.3f}" for value in line)] for row, line in zip(rows, values.tolist(), strict=True)],
    )
    figure = svg_of(matrix_figure(rows, names, values, "CKA"), "Similarity of layers")
    return replace(_SECTION, lead="1: alike up to rotation and scale; 0: unrelated.", figure=figure, table=table)


def _matrix(file: Path) -> tuple[list[str], list[str], np.ndarray] | None:
    """Return row names, column names and values of a similarity's file, or None."""
    try:
        with file.open(newline="") as content:
            head, *lines = list(csv.reader(content))
        values = np.array([[float(value) for value in line[1:]] for line in lines])
        return ([line[0] for line in lines], head[1:], values) if values.ndim == 2 and values.size else None
    except (OSError, ValueError):
        return None
