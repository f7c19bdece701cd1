"""`run`: the shards of an audit, each from the folder if it is there, else from the links, here or on workers."""

import logging
from collections.abc import Sequence
from contextlib import nullcontext

from epsball import progress
from epsball.auditing.evidence import ShardEvidence
from epsball.auditing.result import Audit
from epsball.auditing.running.joining import joined
from epsball.auditing.running.part import Part
from epsball.auditing.running.plan import Plan
from epsball.auditing.running.shards import audited
from epsball.auditing.running.sharing import Shared
from epsball.auditing.running.timing import Engine
from epsball.auditing.showing import write_about
from epsball.interruption import carrying
from epsball.workers import WorkersError
from epsball.workers.threads import threads_of

_LOG = logging.getLogger(__name__)


def run(plan: Plan, *, shared: Shared | None = None, part: Part | None = None) -> Audit:
    """Return the audit; an interruption carries the audit of what is known until then.

    Parameters
    ----------
    plan
        What is audited.
    shared
        The workers that do it, or None; what is about all examples is found here, with as many threads as they have.
    part
        Which shards are done, where others are done elsewhere: then nothing is added up.

    Raises
    ------
    InputError
        If the part has no shards.
    WorkersError
        If shards were given up; the others are done, and in the folder if there is one.
    """
    shards: list[ShardEvidence] = []
    lock = nullcontext() if plan.folder is None else plan.folder.locked("" if part is None else part.name)
    with lock, carrying(lambda: joined(plan, shards, interrupted=True) if shards else None):
        if plan.folder is not None:
            write_about(plan.folder.path, plan.subject)
        numbers = plan.numbers if part is None else part.of(plan.numbers)
        _say_resumed(plan, numbers)
        if shared is None:
            _gather(plan, numbers, shards)
        else:
            _gather_from_workers(plan, numbers, shards, shared)
        with threads_of(None if shared is None else shared.workers):
            return joined(plan, shards, interrupted=False, part=None if part is None else str(part))


def _gather(plan: Plan, numbers: Sequence[int], shards: list[ShardEvidence]) -> None:
    """Add the evidence of each shard, one after another."""
    total, done = _examples(plan, numbers), 0
    for number in numbers:
        rows = plan.rows(number)
        found = _finished(plan, number)
        if found is None:
            progress.report("examples audited", done, total)
            audited(plan, number, shards, Engine())
            progress.report("examples audited", done + rows.stop - rows.start, total)
            _LOG.debug("examples %d to %d are audited", rows.start, rows.stop - 1)
        else:
            shards.append(found)
        done += rows.stop - rows.start


def _gather_from_workers(plan: Plan, numbers: Sequence[int], shards: list[ShardEvidence], shared: Shared) -> None:
    """Add the evidence of each shard, whichever worker finished it when; of an interrupted run, of the first ones."""
    known = {number: found for number in numbers if (found := _finished(plan, number)) is not None}
    waiting = [number for number in numbers if number not in known]
    lost: dict[int, str] = {}
    try:
        for number, found, fate in shared.outcomes(plan, waiting, _examples(plan, list(known))):
            if found is None:
                lost[number] = fate
            else:
                known[number] = found
    finally:
        for number in numbers:
            if number not in known:
                break
            shards.append(known[number])
    if lost:
        raise WorkersError(_given_up(plan, lost, len(known)))


def _given_up(plan: Plan, lost: dict[int, str], done: int) -> str:
    some = "; ".join(
        f"shard {number} (examples {plan.rows(number).start} to {plan.rows(number).stop - 1}): {lost[number]}"
        for number in sorted(lost)[:3]
    )
    kept = "nothing of them is kept" if plan.folder is None else f"they are in {plan.folder.path}"
    return (
        f"{len(lost)} shard{'s were' if len(lost) > 1 else ' was'} given up because every worker died at it ({some}). "
        f"The other {done} are done; {kept}. Give a worker more memory or take fewer, and call again."
    )


def _finished(plan: Plan, number: int) -> ShardEvidence | None:
    """Return a shard that is in the folder; then what its batches found is not needed."""
    found = None if plan.folder is None else plan.folder.load(number)
    if found is not None:
        plan.parts(number).remove()
    return found


def _examples(plan: Plan, numbers: Sequence[int]) -> int:
    return sum(plan.rows(number).stop - plan.rows(number).start for number in numbers)


def _say_resumed(plan: Plan, numbers: Sequence[int]) -> None:
    """Say what earlier calls have done, if any."""
    folder = plan.folder
    if folder is None:
        return
    shards = [number for number in numbers if folder.done(number)]
    examples, total = _examples(plan, shards), _examples(plan, numbers)
    batches = sum(folder.parts_done(number) for number in numbers if number not in shards)
    if shards or batches:
        more = f", and {batches} batch{'es' * (batches > 1)} of the next" if batches else ""
        _LOG.info("resumed: %d of %d examples were audited before%s (%s)", examples, total, more, folder.path)
