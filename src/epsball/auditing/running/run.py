"""`run`: the shards of an audit one after the other, each from the folder if it is there, else from the links."""

import logging
from contextlib import suppress

from epsball import progress
from epsball.attacks import Ledger
from epsball.auditing.evidence import ShardEvidence, gather
from epsball.auditing.result import Audit
from epsball.auditing.running.joining import joined
from epsball.auditing.running.plan import Plan
from epsball.interruption import carrying

_LOG = logging.getLogger(__name__)


def run(plan: Plan) -> Audit:
    """Return the audit; an interruption carries the audit of what is known until then."""
    shards: list[ShardEvidence] = []
    with carrying(lambda: joined(plan, shards, interrupted=True) if shards else None):
        _gather(plan, shards)
        return joined(plan, shards, interrupted=False)


def _gather(plan: Plan, shards: list[ShardEvidence]) -> None:
    """Add the evidence of each shard: from the folder if it is there, else from the links."""
    total = len(plan.subject.dataset)
    _say_resumed(plan, total)
    for number, start in enumerate(range(0, total, plan.shard)):
        stop = min(start + plan.shard, total)
        done = None if plan.folder is None else plan.folder.load(number)
        if done is None:
            progress.report("examples audited", start, total)
            _add_shard(plan, number, slice(start, stop), shards)
            progress.report("examples audited", stop, total)
            _LOG.debug("examples %d to %d are audited", start, stop - 1)
        else:
            shards.append(done)
            plan.parts(number).remove()


def _say_resumed(plan: Plan, total: int) -> None:
    """Say what earlier calls have done, if any."""
    folder = plan.folder
    if folder is None:
        return
    numbers, size = range(-(-total // plan.shard)), plan.shard
    shards = [number for number in numbers if folder.done(number)]
    examples = sum(min(size, total - number * size) for number in shards)
    batches = sum(folder.parts_done(number) for number in numbers if number not in shards)
    if shards or batches:
        more = f", and {batches} batch{'es' * (batches > 1)} of the next" if batches else ""
        _LOG.info("resumed: %d of %d examples were audited before%s (%s)", examples, total, more, folder.path)


def _add_shard(plan: Plan, number: int, rows: slice, shards: list[ShardEvidence]) -> None:
    """Add the evidence of a shard; if that is interrupted, what its finished batches found."""
    folder, parts = plan.folder, plan.parts(number)
    shard = plan.subject.shard(rows, None if folder is None else folder.path, parts)
    guards = plan.guards if number == 0 else Ledger.empty()
    try:
        found = gather(plan.links, shard, guards)
    except KeyboardInterrupt:
        parts.closed = True
        with suppress(KeyboardInterrupt):  # nothing of the shard is known
            shards.append(gather(plan.links, shard, guards))
        raise
    shards.append(found)
    if folder is not None:
        shards[-1] = folder.store(number, found)
        parts.remove()
