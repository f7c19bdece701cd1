"""What the shards of an audit add up to: what each link says about all examples, the chain, and the files of it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from epsball.auditing.chain import chain_of
from epsball.auditing.evidence import ShardEvidence, Witnesses, with_columns, with_verdicts, with_witnesses
from epsball.auditing.folder import RunFolder
from epsball.auditing.gradients import (
    GRADIENT_SCHEMA,
    NOTES_SCHEMA,
    attack_notes,
    gradient_columns,
    gradient_notes,
    notes_columns,
)
from epsball.auditing.link import Link, RunFindings
from epsball.auditing.manifest import write_manifest
from epsball.auditing.parts import Parts
from epsball.auditing.result import Audit
from epsball.auditing.running.plan import Plan
from epsball.auditing.showing import write_shown
from epsball.files import write_json

if TYPE_CHECKING:
    import pyarrow


def joined(plan: Plan, shards: Sequence[ShardEvidence], *, interrupted: bool, part: str | None = None) -> Audit:
    """Join the shards, ask each link about the whole run, and write what it adds up to.

    Where the run was interrupted, or these are one part of its shards, links that need all examples are left out and
    nothing is written.
    """
    import pyarrow

    whole = not interrupted and part is None

    evidence = pyarrow.concat_tables([shard.table for shard in shards]).replace_schema_metadata(None)
    ledgers = [shard.ledger for shard in shards]
    findings = []
    for link in plan.links:
        if not whole and link.run_schema:
            continue
        found = link.on_run(plan.subject, evidence)
        findings.append(found)
        if found.witnesses is not None:
            shards = _with_witnesses(plan.folder, shards, found.witnesses)
            evidence = with_verdicts(evidence, shards)
        evidence = with_columns(evidence, found.columns, link.run_schema)
        ledgers += [] if found.ledger is None else [found.ledger.to_arrow()]
        _write_link(plan.folder, link, evidence, found)
    ledger = pyarrow.concat_tables(ledgers)
    evidence = with_columns(evidence, gradient_columns(shards), GRADIENT_SCHEMA)
    evidence = with_columns(evidence, notes_columns(shards), NOTES_SCHEMA)
    notes = [*plan.notes, *attack_notes(shards), *(note for found in findings for note in found.notes)]
    notes = list(dict.fromkeys([*gradient_notes(evidence, shards), *notes]))
    undiagnosed = plan.undiagnosed or (None if whole else "interrupted" if interrupted else "this is a part")
    result = Audit(
        chain=chain_of(evidence, findings, plan.uncertified, notes, undiagnosed),
        evidence=evidence,
        ledger=ledger,
        shards=shards,
        classifier=plan.subject.classifier,
        class_names=plan.subject.dataset.class_names,
        folder=None if plan.folder is None else plan.folder.path,
        ball=plan.subject.ball,
        interrupted=interrupted,
        part=part,
    )
    return _written(plan, plan.folder, result) if plan.folder is not None and whole else result


def _with_witnesses(folder: RunFolder | None, shards: Sequence[ShardEvidence], found: Witnesses) -> list[ShardEvidence]:
    """Return the shards with further witnesses; those that have some are written again."""
    new = [with_witnesses(shard, found) for shard in shards]
    if folder is None:
        return new
    return [
        shard if shard is old else folder.store(number, shard)
        for number, (old, shard) in enumerate(zip(shards, new, strict=True))
    ]


def _write_link(folder: RunFolder | None, link: Link, evidence: "pyarrow.Table", found: RunFindings) -> None:
    """Write what a link found on the whole run, its document last; then what its batches found is not needed."""
    if folder is None:
        return
    if found.columns:
        folder.write_table(f"{link.name}.arrow", evidence.select(["index", *found.columns]))
    if found.document is not None:
        write_json(folder.path / f"{link.name}.json", found.document)
        Parts(folder.parts(link.name)).remove()


def _written(plan: Plan, folder: RunFolder, result: Audit) -> Audit:
    """Write the chain, the figure, what readers are shown and, last, the manifest; return the audit with its hash."""
    folder.check(plan.numbers)
    # Without the folder's own name: a run that is moved stays the same run, and has the same manifest.
    chain = {name: value for name, value in result.to_json().items() if name != "folder"}
    write_json(folder.path / "chain.json", chain)
    folder.draw("witnesses.png", result.plot())
    write_shown(folder.path, plan.subject, result.evidence, result.shards)
    return replace(result, manifest=write_manifest(folder.path))
