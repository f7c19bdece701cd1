"""Runs of one network on one data set within several balls: accuracy against the radius."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epsball.auditing.chain import ATTACK, CERTIFIED, LIMIT, NATURAL
from epsball.auditing.reading.run import UNREADABLE, Reading
from epsball.errors import InputError
from epsball.radius import parse_radius
from epsball.statistics import Bound, Interval

CURVES = (ATTACK, CERTIFIED, LIMIT, NATURAL)


@dataclass(frozen=True, kw_only=True)
class AtRadius:
    """A finished run at one radius.

    Parameters
    ----------
    folder
        Its folder.
    radius, text
        The radius, and as it was written.
    places
        Value and interval of the places of the chain that were measured.
    """

    folder: Path
    radius: float
    text: str
    places: dict[str, Bound]


def runs_in(folder: Path) -> list[Path]:
    """Return the run folders in a folder, sorted by name."""
    return sorted(file.parent for file in folder.glob("*/run.json"))


def main_run(path: str | Path) -> Path:
    """Return the run that a page is about: the folder itself, or of a folder of runs the one of the largest radius.

    Raises
    ------
    InputError
        If there is no run.
    """
    folder = Path(path)
    if (folder / "run.json").exists() or not folder.is_dir():
        return folder
    found = [(parts[1], run) for run in runs_in(folder) if (parts := _ball_of(run)) is not None]
    if not found:
        raise InputError(f"{folder} holds neither a run nor folders of runs; epsball audit --out makes one.")
    return max(found, key=lambda pair: pair[0])[1]


def against_radius(reading: Reading) -> list[AtRadius]:
    """Return the finished runs beside a run, itself included: same network, same data, same norm, by radius.

    The run may be partial itself; of two runs at one radius the first by name counts, but the run itself before others.
    """
    own = _ball_of(reading.folder)
    beside = sorted(runs_in(reading.folder.resolve().parent), key=lambda run: run != reading.folder.resolve())
    found: dict[float, AtRadius] = {}
    for point in _finished(beside, reading, None if own is None else own[0]):
        found.setdefault(point.radius, point)
    return [found[radius] for radius in sorted(found)]


def _finished(runs: list[Path], reading: Reading, norm: str | None) -> Iterator[AtRadius]:
    for run in runs:
        ball = _ball_of(run)
        try:
            identity = json.loads((run / "run.json").read_text())["identity"]
            places = json.loads((run / "chain.json").read_text())["places"]
            same = all(identity.get(key) == reading.identity.get(key) for key in ("network", "data", "box"))
        except UNREADABLE:
            continue
        if same and ball is not None and ball[0] == norm:
            bounds = {name: _bound(places[name]) for name in CURVES if name in places}
            yield AtRadius(folder=run, radius=ball[1], text=ball[2], places=bounds)


def _ball_of(run: Path) -> tuple[str, float, str] | None:
    """Return norm, radius, and the radius as text of a run; None where they cannot be read."""
    try:
        norm, _, rest = str(json.loads((run / "run.json").read_text())["identity"]["ball"]).partition(":")
        text = rest.split(",")[0]
        return norm, float(parse_radius(text)), text
    except UNREADABLE:
        return None


def _bound(document: dict[str, Any]) -> Bound:
    ends = document.get("interval")
    return Bound(value=document["value"], interval=None if ends is None else Interval(ends["low"], ends["high"]))
