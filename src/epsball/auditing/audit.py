"""`audit`: the whole chain, per example, with evidence."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from epsball import data as datasets
from epsball import progress
from epsball.attacks import Attack, Ledger
from epsball.attacks.attack import check_subject
from epsball.attacks.engine.evaluator import Precision
from epsball.attacks.registry import resolve
from epsball.attacks.search import Options
from epsball.auditing.chain import chain_of
from epsball.auditing.effort import SHARD, EffortName, effort_of
from epsball.auditing.evidence import ShardEvidence, Witnesses, gather, with_columns, with_verdicts, with_witnesses
from epsball.auditing.fingerprint import describe, identity
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
from epsball.auditing.links import AttackLink, CertificateLink, DiagnosisLink, LimitLink, NaturalLink
from epsball.auditing.manifest import write_manifest
from epsball.auditing.parts import Parts
from epsball.auditing.result import Audit
from epsball.auditing.showing import write_about, write_shown
from epsball.auditing.subject import Subject
from epsball.ball import Ball
from epsball.certificates import ALIASES, AUTO, METHODS, LowerBounds, Method, MethodName, Semantics
from epsball.certificates.own_bound import own_bound
from epsball.classifier import Classifier
from epsball.errors import lookup
from epsball.files import write_json
from epsball.interruption import carrying
from epsball.names import NoCertificates

if TYPE_CHECKING:
    import pyarrow

_LOG = logging.getLogger(__name__)

NO_CERTIFICATES: NoCertificates = "none"


def audit(
    classifier: Classifier,
    data: object,
    ball: Ball,
    *,
    effort: EffortName | None = None,
    attack: str | Attack | None = None,
    precision: Precision = "float32",
    batch_size: int | None = None,
    seed: int = 0,
    certificates: MethodName | NoCertificates | str | Method | Callable[..., LowerBounds] = "auto",
    semantics: Semantics = "float32",
    limit: bool = True,
    diagnosis: bool | None = None,
    folder: str | Path | None = None,
    budget: EffortName | None = None,
) -> Audit:
    """Measure the chain of a classifier on a data set, per example, with evidence.

    The data are read in shards, so that they need not fit into memory. With a folder each
    finished shard is on disk, witnesses stay there, and the same call with the same folder
    resumes after a kill or an interruption, which costs the batch in progress.

    Parameters
    ----------
    classifier
        The model under test.
    data
        A text, an (x, y) pair, or an object with ``len`` and slicing to (x, y).
    ball
        The perturbation set; its box lies within the classifier's.
    effort
        ``"quick"`` (the default), ``"standard"`` or ``"full"``: the attack, where none is named, and the passes
        spent on certificates.
    attack
        An attack, or the text of one, instead of the effort's. Its per-example fields have
        one entry per example of the data.
    precision, batch_size
        As for `epsball.attack`.
    seed
        Seed of every draw.
    certificates, semantics
        Method and claim of `epsball.certify`, your own bounds too, or ``"none"``. With ``"auto"`` a network that
        cannot be captured or bounded is audited without certificates, and the chain says why.
    limit
        Whether the optimal adversarial risk of the examples is measured; that needs two classes
        and all examples in memory, and is left out above `LIMIT_BYTES` of them.
    diagnosis
        Whether it is found out if accuracy under attack can be trusted (`epsball.diagnose`); what is broken on the
        way lowers it. That takes at most half the attack's passes, or as many where something is suspicious. None:
        where the attack is the effort's, ``ensemble``, ``adaptive`` or ``autoattack``, and the folder does not
        hold a finished run without it; with another attack the ensemble is run too, so that is done on demand.
    folder
        Where evidence, ledger, witnesses, chain and figure are written.
    budget
        The old name of `effort`, until 0.3.

    Returns
    -------
    Audit

    Raises
    ------
    InputError, ModelError
        If data, ball, options or model break a rule.
    SoundnessError
        If an example is both broken and certified.
    KeyboardInterrupt
        If it is interrupted; its `partial` is the `Audit` of what is known until then, None where nothing is.

    Examples
    --------
    >>> import torch
    >>> import epsball as eb
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2))
    >>> _ = network.load_state_dict({"1.weight": 3 * torch.eye(2), "1.bias": torch.zeros(2)})
    >>> x, y = torch.tensor([[0.9, 0.1], [0.5, 0.6], [0.4, 0.3]]), torch.tensor([0, 1, 1])
    >>> audit = eb.audit(eb.Classifier(network), (x, y), eb.Ball("linf", 0.1), attack="fgsm", limit=False)
    >>> audit.evidence["verdict"].to_pylist()
    ['certified', 'broken', 'misclassified']
    """
    chosen = effort_of(effort, budget)
    proved_by = own_bound(certificates) or _registered(str(certificates))
    method = chosen.attack if attack is None else resolve(attack)
    Options(method=method, seed=seed, precision=precision, batch_size=batch_size)
    check_subject(classifier, ball)
    with carrying(lambda: None):
        dataset = datasets.load(data)
        before = classifier.passes.forward
        subject = Subject.of(classifier, dataset, ball, seed)
        proving = CertificateLink(method=proved_by, semantics=semantics, budget=chosen.certificate_passes)
        uncertified = "not asked for" if proved_by == NO_CERTIFICATES else proving.refusal(subject)
        guards = Ledger.overhead("guards", classifier.passes.forward - before)
        links: list[Link] = [
            NaturalLink(),
            *([proving] if uncertified is None else []),
            AttackLink(method=method, precision=precision, batch_size=batch_size),
        ]
        where = _run_folder(folder, subject, links)
        undiagnosed = DiagnosisLink.left_out(diagnosis, method, where)
        if undiagnosed is None:
            links.append(DiagnosisLink(method=method, folder=where, batch_size=batch_size))
        links += [LimitLink()] if limit else []
    return _Run(
        subject=subject, links=links, guards=guards, folder=where, uncertified=uncertified, undiagnosed=undiagnosed
    ).result()


def _registered(certificates: str) -> str:
    """Return the stored name of a registered method, of the cascade, or of no certificates."""
    lookup(dict.fromkeys((NO_CERTIFICATES, AUTO, *METHODS, *ALIASES)), certificates, "certificates")
    return ALIASES.get(certificates, certificates)


def _run_folder(path: str | Path | None, subject: Subject, links: Sequence[Link]) -> RunFolder | None:
    """Return the folder of a run; what its links do with a shard is part of the run's identity."""
    if path is None:
        return None
    return RunFolder(path, describe(subject, {link.name: identity(link) for link in links if link.schema}, SHARD))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    """An audit whose arguments are checked.

    Parameters
    ----------
    subject, links
        What it is about, and the links of its chain in their order.
    guards
        Passes that the checks made.
    folder
        Where it is written, or None.
    uncertified, undiagnosed
        Why there are no certificates, and no diagnosis, where there are none.
    """

    subject: Subject
    links: Sequence[Link]
    guards: Ledger
    folder: RunFolder | None
    uncertified: str | None
    undiagnosed: str | None

    def result(self) -> Audit:
        """Return the audit; an interruption carries the audit of what is known until then."""
        shards: list[ShardEvidence] = []
        if self.folder is not None:
            write_about(self.folder.path, self.subject)
        with carrying(lambda: self._joined(shards, interrupted=True) if shards else None):
            self._gather(shards)
            return self._joined(shards, interrupted=False)

    def _gather(self, shards: list[ShardEvidence]) -> None:
        """Add the evidence of each shard: from the folder if it is there, else from the links."""
        total = len(self.subject.dataset)
        self._say_resumed(total)
        for number, start in enumerate(range(0, total, SHARD)):
            stop = min(start + SHARD, total)
            done = None if self.folder is None else self.folder.load(number)
            if done is None:
                progress.report("examples audited", start, total)
                self._add_shard(number, slice(start, stop), shards)
                progress.report("examples audited", stop, total)
                _LOG.debug("examples %d to %d are audited", start, stop - 1)
            else:
                shards.append(done)
                self._parts(number).remove()

    def _say_resumed(self, total: int) -> None:
        """Say what earlier calls have done, if any."""
        if self.folder is None:
            return
        shards = [number for number in range(-(-total // SHARD)) if self.folder.done(number)]
        examples = sum(min(SHARD, total - number * SHARD) for number in shards)
        batches = sum(self.folder.parts_done(number) for number in range(-(-total // SHARD)) if number not in shards)
        if shards or batches:
            more = f", and {batches} batch{'es' * (batches > 1)} of the next" if batches else ""
            _LOG.info("resumed: %d of %d examples were audited before%s (%s)", examples, total, more, self.folder.path)

    def _add_shard(self, number: int, rows: slice, shards: list[ShardEvidence]) -> None:
        """Add the evidence of a shard; if that is interrupted, what its finished batches found."""
        folder, parts = self.folder, self._parts(number)
        shard = self.subject.shard(rows, None if folder is None else folder.path, parts)
        guards = self.guards if number == 0 else Ledger.empty()
        try:
            found = gather(self.links, shard, guards)
        except KeyboardInterrupt:
            parts.closed = True
            with suppress(KeyboardInterrupt):  # nothing of the shard is known
                shards.append(gather(self.links, shard, guards))
            raise
        shards.append(found)
        if folder is not None:
            shards[-1] = folder.store(number, found)
            parts.remove()

    def _parts(self, number: int) -> Parts:
        """Return the parts of a shard."""
        # A stochastic model draws on from batch to batch, so a run that resumes begins the shard again.
        if self.folder is None or self.subject.classifier.stochastic:
            return Parts(None)
        return Parts(self.folder.parts(number))

    def _joined(self, shards: Sequence[ShardEvidence], *, interrupted: bool) -> Audit:
        """Join the shards, ask each link about the whole run, and write what it adds up to.

        Where the run was interrupted, links that need all examples are left out and nothing is written.
        """
        import pyarrow

        evidence = pyarrow.concat_tables([shard.table for shard in shards]).replace_schema_metadata(None)
        ledgers = [shard.ledger for shard in shards]
        findings = []
        for link in self.links:
            if interrupted and link.run_schema:
                continue
            found = link.on_run(self.subject, evidence)
            findings.append(found)
            if found.witnesses is not None:
                shards = self._with_witnesses(shards, found.witnesses)
                evidence = with_verdicts(evidence, shards)
            evidence = with_columns(evidence, found.columns, link.run_schema)
            ledgers += [] if found.ledger is None else [found.ledger.to_arrow()]
            self._write(link, evidence, found)
        ledger = pyarrow.concat_tables(ledgers)
        evidence = with_columns(evidence, gradient_columns(evidence, ledger), GRADIENT_SCHEMA)
        evidence = with_columns(evidence, notes_columns(shards), NOTES_SCHEMA)
        notes = [*attack_notes(shards), *(note for found in findings for note in found.notes)]
        notes = list(dict.fromkeys([*gradient_notes(evidence, ledger), *notes]))
        undiagnosed = "interrupted" if interrupted and self.undiagnosed is None else self.undiagnosed
        result = Audit(
            chain=chain_of(evidence, findings, self.uncertified, notes, undiagnosed),
            evidence=evidence,
            ledger=ledger,
            shards=shards,
            classifier=self.subject.classifier,
            class_names=self.subject.dataset.class_names,
            folder=None if self.folder is None else self.folder.path,
            ball=self.subject.ball,
            interrupted=interrupted,
        )
        if self.folder is not None and not interrupted:
            # Without the folder's own name: a run that is moved stays the same run, and has the same manifest.
            chain = {name: value for name, value in result.to_json().items() if name != "folder"}
            write_json(self.folder.path / "chain.json", chain)
            self.folder.draw("witnesses.png", result.plot())
            write_shown(self.folder.path, self.subject, evidence, shards)
            result = replace(result, manifest=write_manifest(self.folder.path))
        return result

    def _with_witnesses(self, shards: Sequence[ShardEvidence], found: Witnesses) -> list[ShardEvidence]:
        """Return the shards with further witnesses; those that have some are written again."""
        new = [with_witnesses(shard, found) for shard in shards]
        if self.folder is None:
            return new
        return [
            shard if shard is old else self.folder.store(number, shard)
            for number, (old, shard) in enumerate(zip(shards, new, strict=True))
        ]

    def _write(self, link: Link, evidence: "pyarrow.Table", found: RunFindings) -> None:
        """Write what a link found on the whole run, its document last; then what its batches found is not needed."""
        if self.folder is None:
            return
        if found.columns:
            self.folder.write_table(f"{link.name}.arrow", evidence.select(["index", *found.columns]))
        if found.document is not None:
            write_json(self.folder.path / f"{link.name}.json", found.document)
            Parts(self.folder.parts(link.name)).remove()
