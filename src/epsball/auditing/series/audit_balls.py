"""`audit_balls`: an audit within several balls, one run each."""

from collections.abc import Sequence
from pathlib import Path

from epsball.auditing.manifest import write_runs
from epsball.auditing.result import Audit
from epsball.auditing.running import Part, Request, Shared, run
from epsball.auditing.series.by_shard import as_begun, note, settle
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
    part: Part | None = None,
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
    part
        Which shards are done within each ball, where others are done elsewhere: then nothing is added up.
    """
    if folder is not None and (folder / "run.json").exists():
        raise InputError(f"{folder} holds one run; several balls need a folder of their own.")
    done: dict[Ball, Audit] = {}
    mine: Sequence[int] | None = None
    with carrying(lambda: _joined(done, None, interrupted=True) if done else None):
        for ball in bisected(balls):
            known = [] if subject.classifier.stochastic else [_source(*one, folder, mine) for one in done.items()]
            path = None if folder is None else folder / folder_name(ball)
            if path is not None:
                if part is None:
                    settle(path)
                known = as_begun(path, known, mine)
            plan = request.plan(subject.about(ball), path, guards, known)
            mine = None if part is None else part.of(plan.numbers)
            if mine is not None and plan.folder is not None:
                note(plan.folder, mine, known)
            done[ball] = run(plan, shared=None if shared is None else shared.within(ball, known), part=part)
            guards = 0
        return _joined(done, folder, interrupted=False, part=part)


def _source(ball: Ball, audit: Audit, folder: Path | None, mine: Sequence[int] | None) -> Source:
    """Return a finished run, or a part of one, as the next ones see it."""
    if folder is None or audit.folder is None:
        return Source.of(audit, ball, folder_name(ball))
    seen_from = folder / "run"
    return Source.read(audit.folder, seen_from) if mine is None else Source.of_shards(audit.folder, mine, seen_from)


def _joined(
    done: dict[Ball, Audit], folder: Path | None, *, interrupted: bool, part: Part | None = None
) -> AuditsByRadius:
    """Return the runs by radius; write what names them, and the table and the figure of accuracy against radius."""
    balls = sorted(done, key=lambda ball: (ball.norm, ball.radius))
    audits = tuple(done[ball] for ball in balls)
    named = None if part is None else str(part)
    result = AuditsByRadius(audits=audits, folder=folder, interrupted=interrupted, part=named)
    if folder is None or part is not None:
        return result
    runs = {folder_name(ball): (str(ball), done[ball].manifest) for ball in balls}
    manifest = write_runs(folder, runs)
    write_atomically(folder / "radii.csv", result.to_csv().encode())
    write_atomically(folder / "radii.png", png(result.plot()))
    return AuditsByRadius(audits=audits, folder=folder, manifest=manifest)
