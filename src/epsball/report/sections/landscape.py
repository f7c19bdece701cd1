"""The landscape, where one lies in the run's folder."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from epsball.auditing.reading import Summary
from epsball.auditing.reading.run import UNREADABLE
from epsball.auditing.reading.slices import MOST, slices, slices_figure
from epsball.report.formats import number
from epsball.report.sections.section import Section, Table
from epsball.report.svg import clean, svg_of

_SECTION = Section(id="landscape", short="Landscape", title="Landscape", term="landscape")

_DRAWN = "Slices of the margin around examples"

_NUMBERS = {
    "value": "margin",
    "gradient_norm": "radius × gradient norm",
    "change": "change to FGSM's point",
    "first": "as the gradient predicts",
    "gamma": "local linearity",
    "bend": "bend",
    "cosine": "gradients nearby agree",
}
"""Of the numbers about the margin those that a page shows, and their headings."""


def landscape(summary: Summary) -> Section:
    """Return the section."""
    folder = summary.reading.folder
    for here in (folder, folder / "landscape"):
        document = _document(here / "landscape.json")
        drawn = slices(document)
        figure = svg_of(slices_figure(drawn), _DRAWN) if drawn else _inline(here / "landscape.svg")
        if figure is not None:
            return replace(
                _SECTION, lead=_lead(document, summary.ball), figure=figure, wide=not drawn, table=_table(document)
            )
    reading = summary.reading
    command = (
        f"epsball landscape {reading.subject} --ball {summary.ball} --out {reading.address}/landscape\n"
        f"epsball report {reading.address}"
    )
    return _SECTION.absent("no landscape lies in the run's folder", command)


def _lead(document: dict[str, Any], ball: str) -> str:
    text = (
        "Slices of the margin along each direction: the model (solid, red where it is wrong) and what its gradient "
        "predicts (dashed). Grey is N(x). Where they part within it, the gradient leads attacks astray."
    )
    if document.get("ball", ball) != ball:
        text += f" Within {document['ball']}, not the {ball} of this run."
    number = len(document.get("label", ()))
    return text + (f" Drawn are {MOST} of {number} examples." if number > MOST else "")


def _inline(file: Path) -> str | None:
    try:
        return clean(file.read_text(), _DRAWN)
    except (OSError, ValueError):
        return None


def _document(file: Path) -> dict[str, Any]:
    """Return what a landscape says in numbers; nothing where that cannot be read, or is about two networks."""
    try:
        found = dict(json.loads(file.read_text()))
        return found if "numbers" in found and "label" in found else {}
    except UNREADABLE:
        return {}


def _table(document: dict[str, Any]) -> Table | None:
    try:
        numbers, labels = document["numbers"]["margin"], document["label"]
        rows = [
            [f"#{i}", str(label), *(number(_float(numbers[name][i])) for name in _NUMBERS)]
            for i, label in enumerate(labels)
        ]
    except (*UNREADABLE, IndexError):
        return None
    header = ("example", "label", *_NUMBERS.values())
    return Table(caption="The margin around each example, in numbers", header=header, rows=rows)


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)
