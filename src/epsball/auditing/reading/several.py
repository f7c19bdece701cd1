"""Runs of one network on one data set within several balls: which a page is about, and accuracy against the radius."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epsball.auditing.chain import ATTACK, CERTIFIED, LIMIT, NATURAL
from epsball.auditing.manifest import RUNS, check_schema, runs_of
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


@dataclass(frozen=True, kw_only=True)
class AgainstRadius:
    """The runs beside a run, itself included.

    Parameters
    ----------
    points
        The finished ones of the same network, data and norm, by radius.
    left_out
        Name of each run that is not among them, and why.
    """

    points: Sequence[AtRadius] = ()
    left_out: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What a run folder says of itself without its evidence; `wrong` is why it cannot be read."""

    folder: Path
    identity: dict[str, Any]
    norm: str = ""
    radius: float = 0.0
    text: str = ""
    places: dict[str, Any] | None = None
    wrong: str | None = None

    @property
    def finished(self) -> bool:
        return self.places is not None


def is_folder_of_runs(path: str | Path) -> bool:
    """Return whether a folder holds runs and is not one itself."""
    folder = Path(path)
    return folder.is_dir() and not (folder / "run.json").exists() and any(folder.glob("*/run.json"))


def main_run(path: str | Path) -> Path:
    """Return the run that a page is about: the folder itself, or one of a folder of runs.

    Of several it is a finished one, of the norm that most of them have, of the largest radius.

    Raises
    ------
    InputError
        If there is no run, or none that can be read.
    """
    folder = Path(path)
    if (folder / "run.json").exists() or not folder.is_dir():
        return folder
    return _first(folder, _runs_in(folder)).folder


def main_pair(first: str | Path, second: str | Path) -> tuple[Path, Path]:
    """Return the two runs that a page of two is about: of folders of runs those of a ball that both have.

    Raises
    ------
    InputError
        As for `main_run`.
    """
    paths = Path(first), Path(second)
    if not any(map(is_folder_of_runs, paths)):
        return main_run(first), main_run(second)
    found = [_runs_in(path) if is_folder_of_runs(path) else [_known(path)] for path in paths]
    balls = [{run.identity.get("ball") for run in runs if run.wrong is None} for runs in found]
    common = balls[0] & balls[1]
    alike = [[run for run in runs if run.wrong is None and run.identity.get("ball") in common] for runs in found]
    if not common:
        return main_run(first), main_run(second)
    unfinished = {run.identity["ball"] for runs in alike for run in runs if not run.finished}
    done = [run for run in alike[1] if run.identity["ball"] not in unfinished]
    ball = _first(paths[1], done or alike[1]).identity["ball"]
    one, other = (next(run.folder for run in runs if run.identity["ball"] == ball) for runs in alike)
    return one, other


def against_radius(reading: Reading) -> AgainstRadius:
    """Return the finished runs beside a run, itself included: same network, same data, same norm, by radius.

    The run may be partial itself; of two runs at one radius the first by name counts, but the run itself before others.
    Of a folder that was made as one of runs every other run is named with the reason; elsewhere those of this network
    on this data.
    """
    own = reading.folder.resolve()
    beside = own.parent
    together = (beside / RUNS).exists()
    here = _known(own)
    found: dict[float, AtRadius] = {}
    left_out: dict[str, str] = {}
    for run in sorted(_runs_in(beside), key=lambda run: run.folder != own):
        why = _why_not(run, here)
        if why is not None:
            if together or (run.identity and _same(run, here) is None):
                left_out[run.folder.name] = why
        elif run.radius in found:
            if together:
                left_out[run.folder.name] = f"{found[run.radius].folder.name} has the same radius"
        else:
            bounds = {name: _bound(run.places[name]) for name in CURVES if run.places and name in run.places}
            found[run.radius] = AtRadius(folder=run.folder, radius=run.radius, text=run.text, places=bounds)
    points = [found[radius] for radius in sorted(found)]
    return AgainstRadius(points=points, left_out=[*sorted(left_out.items()), *_vanished(beside)])


def _why_not(run: _Known, here: _Known) -> str | None:
    """Return why a run is not drawn beside another, or None."""
    return run.wrong or _same(run, here) or ("it is not finished" if not run.finished else _other_norm(run, here))


def _same(run: _Known, here: _Known) -> str | None:
    """Return in what the subject of a run is another than that of the one a page is about, or None."""
    said = {"network": "another network", "data": "other examples", "box": "another box of inputs"}
    return next((text for key, text in said.items() if run.identity.get(key) != here.identity.get(key)), None)


def _other_norm(run: _Known, here: _Known) -> str | None:
    return None if run.norm == here.norm else f"another norm, {run.norm}"


def _vanished(folder: Path) -> Iterable[tuple[str, str]]:
    """Yield the runs that the file of a folder of runs names, and of which there is no folder."""
    try:
        named = runs_of(folder) or {}
    except InputError:
        return
    for name in named:
        if not (folder / name / "run.json").exists():
            yield name, "its folder is missing"


def _runs_in(folder: Path) -> list[_Known]:
    return [_known(file.parent) for file in sorted(folder.glob("*/run.json"))]


def _known(run: Path) -> _Known:
    """Return what a run folder says of itself."""
    try:
        record = dict(json.loads((run / "run.json").read_text()))
        identity = dict(record["identity"])
        norm, _, rest = str(identity["ball"]).partition(":")
        text = rest.split(",")[0]
        radius = float(parse_radius(text))
    except UNREADABLE:
        return _Known(folder=run, identity={}, wrong="its run.json cannot be read")
    known: dict[str, Any] = {"folder": run, "identity": identity, "norm": norm, "radius": radius, "text": text}
    try:
        check_schema(run, record)
    except InputError as error:
        return _Known(**known, wrong=str(error).removeprefix(f"{run} ").rstrip("."))
    file = run / "chain.json"
    if not file.exists():
        return _Known(**known)
    try:
        places = dict(json.loads(file.read_text())["places"])
        for name in CURVES:
            if name in places:
                _bound(places[name])
    except UNREADABLE:
        return _Known(**known, wrong="its chain.json cannot be read")
    return _Known(**known, places=places)


def _first(folder: Path, runs: Sequence[_Known]) -> _Known:
    """Return the run that a page of a folder is about."""
    readable = [run for run in runs if run.wrong is None]
    if not readable:
        why = f" that can be read ({runs[0].folder.name}: {runs[0].wrong})" if runs else ""
        raise InputError(f"{folder} holds neither a run nor folders of runs{why}; epsball audit --out makes one.")
    often = Counter(run.norm for run in readable)
    return max(readable, key=lambda run: (run.finished, often[run.norm], run.norm, run.radius))


def _bound(document: dict[str, Any]) -> Bound:
    ends = document.get("interval")
    return Bound(value=document["value"], interval=None if ends is None else Interval(ends["low"], ends["high"]))
