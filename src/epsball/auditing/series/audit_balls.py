"""`audit_balls`: an audit within several balls, one run each."""

import json
from collections.abc import Sequence
from pathlib import Path

from epsball.auditing.links.taken import BASELINE
from epsball.auditing.manifest import write_runs
from epsball.auditing.result import Audit
from epsball.auditing.running import Request, Shared, run
from epsball.auditing.series.order import bisected
from epsball.auditing.series.result import AuditsByRadius
from epsball.auditing.sharing import Source, folder_name
from epsball.auditing.subject import Subject
from epsball.ball import Ball
from epsball.errors import InputError
from epsball.figures import png
from epsball.files import write_atomically
from epsball.interruption import carrying


def audit_balls(
    request: Request,
    subject: Subject,
    balls: Sequence[Ball],
    folder: Path | None,
    guards: int,
    shared: Shared | None = None,
) -> AuditsByRadius:
    """Audit within each ball, in the order in which most is shared; an interruption carries the runs that are finished.

    Parameters
    ----------
    request, subject
        What is measured, and of what.
    balls
        The perturbation sets.
    folder
        The folder of the runs' folders, or None.
    guards
        Forward passes that the checks made.
    shared
        The workers that do it, or None.
    """
    if folder is not None and (folder / "run.json").exists():
        raise InputError(f"{folder} holds one run; several balls need a folder of their own.")
    done: dict[Ball, Audit] = {}
    with carrying(lambda: _joined(done, None, interrupted=True) if done else None):
        for ball in bisected(balls):
            known = (
                [] if subject.classifier.stochastic else [_source(one, found, folder) for one, found in done.items()]
            )
            path = None if folder is None else folder / folder_name(ball)
            known = known if path is None else _as_begun(path, known)
            plan = request.plan(subject.about(ball), path, guards, known)
            done[ball] = run(plan, shared=None if shared is None else shared.within(ball, known))
            guards = 0
        return _joined(done, folder, interrupted=False)


def _source(ball: Ball, audit: Audit, folder: Path | None) -> Source:
    """Return a finished run as the next ones see it."""
    if folder is None or audit.folder is None:
        return Source.of(audit, ball, folder_name(ball))
    return Source.read(audit.folder, seen_from=folder / "run")


def _as_begun(path: Path, known: list[Source]) -> list[Source]:
    """Return the runs that a run took over from when it began, if it did: with further radii the order changes."""
    try:
        links = json.loads((path / "run.json").read_text())["identity"]["links"]
        names = [str(text).partition(" ")[0] for text in links["taken"]["runs"]] if "taken" in links else []
    except (OSError, ValueError, KeyError, TypeError):
        return known
    return [Source.read(path / name, seen_from=path) for name in names if name != BASELINE]


def _joined(done: dict[Ball, Audit], folder: Path | None, *, interrupted: bool) -> AuditsByRadius:
    """Return the runs by radius; write what names them, and the table and the figure of accuracy against radius."""
    balls = sorted(done, key=lambda ball: (ball.norm, ball.radius))
    audits = tuple(done[ball] for ball in balls)
    result = AuditsByRadius(audits=audits, folder=folder, interrupted=interrupted)
    if folder is None:
        return result
    runs = {folder_name(ball): (str(ball), done[ball].manifest) for ball in balls}
    manifest = write_runs(folder, runs)
    write_atomically(folder / "radii.csv", result.to_csv().encode())
    write_atomically(folder / "radii.png", png(result.plot()))
    return AuditsByRadius(audits=audits, folder=folder, manifest=manifest)
