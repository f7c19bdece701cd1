"""One shard of an audit: from the links to evidence, and into the folder."""

from contextlib import suppress

from epsball.attacks import Ledger
from epsball.auditing.evidence import ShardEvidence, gather
from epsball.auditing.running.plan import Plan
from epsball.auditing.running.timing import Engine, timed


def audited(plan: Plan, number: int, shards: list[ShardEvidence], engine: Engine) -> None:
    """Add the evidence of a shard; if that is interrupted, what its finished batches found."""
    folder, parts = plan.folder, plan.parts(number)
    guards = plan.guards if number == 0 else Ledger.empty()
    with timed(folder, number, engine):
        path = None if folder is None else folder.path
        shard = plan.subject.shard(plan.rows(number), path, parts, keep=plan.keep)
        try:
            found = gather(plan.links, shard, guards)
        except KeyboardInterrupt:
            parts.closed = True
            with suppress(KeyboardInterrupt):  # nothing of the shard is known
                shards.append(gather(plan.links, shard, guards))
            raise
        shards.append(found if folder is None else folder.store(number, found))
    parts.remove()
