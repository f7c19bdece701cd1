"""``epsball gate``."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from epsball.cli.common import AS_BALL, Data, Model, Output, Seed, Unseeded, load_subject, say
from epsball.cli.project import found_above, shown, used
from epsball.cli.sharing import Sharing
from epsball.errors import InputError
from epsball.files import check_writable, write_atomically
from epsball.names import EffortName, OnUndecided

if TYPE_CHECKING:
    from epsball.auditing import Gate
    from epsball.auditing.gating import Lock, Place

_FAILED, _CANNOT_TELL = 10, 11
LOCK = "robustness.lock"
_Report = Annotated[Path | None, Parameter(help="File of the report.")]
_Flag = Annotated[bool, Parameter(negative=())]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What is asked; what is not given is taken from the lock.

    Parameters
    ----------
    ball
        The perturbation set, NORM:RADIUS, as in linf:8/255 or l2:0.5.
    min_robust
        Least share of robust examples: passes only by certificates, fails only by witnesses.
    min_certified
        Least share of right and certified examples.
    min_under_attack
        Least share of right and unbroken examples; never passes where gradients are masked.
    baseline
        Folder of an audit of another model on the same data within the same ball; its witnesses are tried first.
    max_newly_broken
        Most examples that stand in the baseline and do not here; never passes where gradients are masked.
    alpha
        Probability, at most, of passing wrongly, and of failing wrongly; by default 0.05.
    effort
        What is spent per example; by default quick.
    seed
        Seed of the order and of every draw; by default 0.
    """

    ball: Annotated[str | None, AS_BALL] = None
    min_robust: str | None = None
    min_certified: str | None = None
    min_under_attack: str | None = None
    baseline: Path | None = None
    max_newly_broken: str | None = None
    alpha: float | None = None
    effort: EffortName | None = None
    seed: Seed | None = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class LockOptions:
    """The lock: what is asked and of which data, in a file beside the code.

    Parameters
    ----------
    lock
        The lock's file; by default robustness.lock here or in the nearest directory above that has one.
    write_lock
        Write the lock for what is asked now, instead of comparing with it.
    strict_environment
        Refuse another torch, platform or device than the lock's, too.
    """

    lock: Path | None = None
    write_lock: _Flag = False
    strict_environment: _Flag = False

    def file(self) -> Path | None:
        """Return the lock's file: the one named, or the nearest; None if there is none and none is to be written."""
        if self.lock is not None:
            return self.lock
        nearest = found_above(LOCK)
        return Path(shown(nearest)) if nearest is not None else Path(LOCK) if self.write_lock else None


_CONDITIONS, _LOCK, _SHARING, _UNSEEDED = Conditions(), LockOptions(), Sharing(), Unseeded()


def gate(
    model: Model,
    data: Data,
    /,
    *,
    conditions: Conditions = _CONDITIONS,
    on_undecided: OnUndecided = "fail",
    locking: LockOptions = _LOCK,
    junit: _Report = None,
    summary: _Report = None,
    sarif: _Report = None,
    sharing: Sharing = _SHARING,
    common: Unseeded = _UNSEEDED,
) -> Output:
    """Decide whether a model is robust enough: for CI. Exit code 0: pass, 10: fail, 2: nothing could be decided.

    Examples are audited in a random order until the answer is sure enough, at most all of them; what cannot be told at
    this effort fails too (exit code 10, saying so) unless --on-undecided pass is given.

    Parameters
    ----------
    on_undecided
        What an answer that cannot be given counts as.
    junit
        File of a JUnit XML report.
    summary
        File of a summary in Markdown.
    sarif
        File of a SARIF 2.1.0 report, at the line of the configuration or of the lock that asks for what is not met.
    """
    file = locking.file()
    for report in filter(None, (junit, summary, sarif, file if locking.write_lock else None)):
        check_writable(report)
    read = file is not None and (file.exists() or not locking.write_lock)
    if conditions.ball is None and not read:
        raise InputError("--ball is missing: the perturbation set, NORM:RADIUS, as in linf:8/255 or l2:0.5.")
    from epsball.auditing import gate as run
    from epsball.auditing.gating import Lock, to_sarif

    lock = Lock.read(file) if file is not None and read else None
    say([] if lock is None else [f"lock: {file}"])
    ball, seed = _subject_of(conditions, lock)
    subject = load_subject(model, data, ball, common.seeded(seed), stochastic=False)
    result = run(
        subject.classifier,
        subject.dataset,
        subject.ball,
        min_robust=conditions.min_robust,
        min_certified=conditions.min_certified,
        min_under_attack=conditions.min_under_attack,
        baseline=conditions.baseline,
        max_newly_broken=conditions.max_newly_broken,
        alpha=conditions.alpha,
        effort=conditions.effort,
        seed=conditions.seed,
        lock=file,
        write_lock=locking.write_lock,
        strict_environment=locking.strict_environment,
        workers=sharing.workers_for(model, data, ball, common.seeded(seed)),
    )
    reports = (
        (junit, lambda: result.to_junit(on_undecided)),
        (summary, result.to_markdown),
        (sarif, lambda: to_sarif(result, _places(result, file), on_undecided)),
    )
    for report, text in reports:
        if report is not None:
            write_atomically(report, text().encode())
    code, lines = result.exit_code, [str(result)]
    if locking.write_lock:
        lines.append(f"written: {file}")
    if code == _CANNOT_TELL:
        code = 0 if on_undecided == "pass" else _FAILED
        lines.append(f"what cannot be told counts as {on_undecided} (--on-undecided)")
    return Output(json.dumps(result.to_json(), indent=2, allow_nan=False) if common.json else "\n".join(lines), code)


def _places(result: "Gate", lock: Path | None) -> "dict[str, Place]":
    """Return where each condition is asked for: in the project's file, else in the lock."""
    from epsball.auditing.gating.lock import THRESHOLDS
    from epsball.auditing.gating.sarif import Place

    found, places = used(), {}
    for name in (decision.condition.name for decision in result.decisions):
        keys = None if found is None else found.key(name)
        if found is not None and keys is not None:
            places[name] = Place.of(found.file, keys)
        elif lock is not None:
            places[name] = Place.of(lock, (THRESHOLDS, name))
    return places


def _subject_of(conditions: Conditions, lock: "Lock | None") -> tuple[str, int]:
    """Return ball and seed: those given, or those of the lock."""
    ball = conditions.ball if conditions.ball is not None or lock is None else lock.ball
    seed = conditions.seed if conditions.seed is not None else 0 if lock is None else lock.seed
    return ball or "", seed
