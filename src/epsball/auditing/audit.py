"""`audit`: the whole chain, per example, with evidence."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from epsball import data as datasets
from epsball import progress
from epsball.attacks import Attack, Ensemble, Ledger
from epsball.attacks.attack import check_subject
from epsball.attacks.registry import resolve
from epsball.attacks.search import Options
from epsball.auditing.chain import measure
from epsball.auditing.evidence import ShardEvidence, gather
from epsball.auditing.fingerprint import describe, identity
from epsball.auditing.folder import RunFolder
from epsball.auditing.link import Link, Shard
from epsball.auditing.links import AttackLink, CertificateLink, NaturalLink
from epsball.auditing.result import Audit
from epsball.ball import Ball
from epsball.certificates import ALIASES, METHODS, Semantics, certify
from epsball.classifier import Classifier
from epsball.classifier.guards import PROBED, check_inputs, check_label_range
from epsball.errors import AssumptionError, ModelError, UnsupportedOperation, lookup
from epsball.files import write_json
from epsball.limits import LinkColumns, link_columns

BUDGETS: dict[str, Attack] = {
    "quick": Ensemble(),
    "standard": Ensemble(queries=1000, patience=10.0, most=140),
    "full": Ensemble(queries=5000, patience=30.0, most=420),
}
"""The attack each budget buys."""

CERTIFICATE_BUDGETS: dict[str, int | None] = {"quick": 5_000, "standard": 50_000, "full": None}
"""Passes that each budget spends on the certificates of an example, at most."""

SHARD = 1000
"""Examples audited and written as one piece."""

NO_CERTIFICATES = "none"

LIMIT_BYTES = 1 << 30
"""Size of the stored examples above which their optimal risk is left to ``epsball limit``."""


def audit(
    classifier: Classifier,
    data: object,
    ball: Ball,
    *,
    budget: str = "quick",
    attack: str | Attack | None = None,
    precision: str = "float32",
    batch_size: int | None = None,
    seed: int = 0,
    certificates: str = "auto",
    semantics: Semantics = "float32",
    limit: bool = True,
    folder: str | Path | None = None,
) -> Audit:
    """Measure the chain of a classifier on a data set, per example, with evidence.

    The data are read in shards, so that they need not fit into memory. With a folder each
    finished shard is on disk, witnesses stay there, and the same call with the same folder
    goes on after a kill; an interruption costs the shard under way.

    Parameters
    ----------
    classifier
        The model under test.
    data
        A text, an (x, y) pair, or an object with ``len`` and slicing to (x, y).
    ball
        The perturbation set; its box lies within the classifier's.
    budget
        ``"quick"``, ``"standard"`` or ``"full"``: the attack, where none is named.
    attack
        An attack, or the text of one, instead of the budget's. Its per-example fields have
        one entry for each example of the data.
    precision, batch_size
        As for `epsball.attack`.
    seed
        Seed of every draw.
    certificates, semantics
        Method and claim of `epsball.certify`, or ``"none"``. With ``"auto"`` a network that cannot be
        captured or bounded is audited without certificates, and the chain says why.
    limit
        Whether the optimal adversarial risk of the examples is measured; that needs two classes
        and all examples in memory, and is left out above `LIMIT_BYTES` of them.
    folder
        Where evidence, ledger, witnesses, chain and picture are written.

    Returns
    -------
    Audit

    Raises
    ------
    InputError, ModelError
        If data, ball, options or model break a rule.
    SoundnessError
        If an example is both broken and certified.
    """
    bought = lookup(BUDGETS, budget, "budget")
    lookup({NO_CERTIFICATES: None, "auto": None, **METHODS, **ALIASES}, certificates, "certificates")
    certificates = ALIASES.get(certificates, certificates)
    method = bought if attack is None else resolve(attack)
    Options(method=method, seed=seed, precision=precision, batch_size=batch_size)
    check_subject(classifier, ball)
    dataset = datasets.load(data)
    before = classifier.passes.forward
    classes = _checked(classifier, dataset)
    link = CertificateLink(method=certificates, semantics=semantics, budget=CERTIFICATE_BUDGETS[budget])
    reason = _without_certificates(link, classifier, dataset, ball)
    guards = Ledger.overhead("guards", classifier.passes.forward - before)
    links: list[Link] = [
        NaturalLink(),
        *([] if reason is not None else [link]),
        AttackLink(method=method, precision=precision, batch_size=batch_size),
    ]
    run = None
    if folder is not None:
        options = {link.name: identity(link) for link in links}
        run = RunFolder(folder, describe(classifier, dataset, ball, options, seed, SHARD))
    subject = {"classifier": classifier, "dataset": dataset, "ball": ball, "seed": seed, "classes": classes}
    read = partial(_read, **subject, folder=None if run is None else run.path)
    shards = list(_evidence(links, read, guards, run, len(dataset)))
    return _finish(shards, links, classifier, dataset, run, _limit(dataset, ball) if limit else None, reason)


def _checked(classifier: Classifier, dataset: datasets.Dataset) -> int:
    """Check the model on the first examples and all labels; return the classes."""
    x, y = dataset[:PROBED]
    classes = classifier.check(datasets.as_pixels(x), y)
    check_label_range(dataset.labels, classes)
    return classes


def _evidence(
    links: Sequence[Link], read: Callable[[slice], Shard], guards: Ledger, run: RunFolder | None, total: int
) -> Iterator[ShardEvidence]:
    """Yield the evidence of each shard: from the folder if it is there, else from the links."""
    for number, start in enumerate(range(0, total, SHARD)):
        stop = min(start + SHARD, total)
        done = run.load(number) if run is not None else None
        if done is None:
            done = gather(links, read(slice(start, stop)), guards if number == 0 else Ledger.empty())
            done = done if run is None else run.store(number, done)
        progress.report("examples audited", stop, total)
        yield done


def _read(
    rows: slice,
    classifier: Classifier,
    dataset: datasets.Dataset,
    ball: Ball,
    seed: int,
    classes: int,
    folder: Path | None,
) -> Shard:
    """Return a shard, its inputs checked."""
    x, y = dataset[rows]
    x = datasets.as_pixels(x)
    check_inputs(x, classifier.low, classifier.high, first=rows.start)
    return Shard(
        classifier=classifier,
        ball=ball,
        seed=seed,
        classes=classes,
        x=x,
        y=y,
        positions=dataset.positions[rows],
        rows=torch.arange(rows.start, rows.stop),
        total=len(dataset),
        folder=folder,
    )


def _without_certificates(
    link: CertificateLink, classifier: Classifier, dataset: datasets.Dataset, ball: Ball
) -> str | None:
    """Return why there are no certificates, or None where there are; what was asked for by name must work."""
    if link.method == NO_CERTIFICATES:
        return "not asked for"
    x, y = dataset[:1]
    try:
        certify(classifier, datasets.as_pixels(x), y, ball, method="interval", semantics=link.semantics)
    except (ModelError, UnsupportedOperation, AssumptionError) as error:
        if link.method != "auto":
            raise
        return str(error)
    return None


def _limit(dataset: datasets.Dataset, ball: Ball) -> LinkColumns | None:
    """Return the limit of the examples, or None where it is not defined or too large."""
    x, _ = dataset[:1]
    if len(dataset.labels.unique()) < 2 or len(dataset) * x.nbytes > LIMIT_BYTES:
        return None
    x, y = dataset[:]
    return link_columns(x, y, ball)


def _finish(
    shards: Sequence[ShardEvidence],
    links: Sequence[Link],
    classifier: Classifier,
    dataset: datasets.Dataset,
    run: RunFolder | None,
    limit: LinkColumns | None,
    uncertified: str | None,
) -> Audit:
    import pyarrow

    evidence = pyarrow.concat_tables([shard.table for shard in shards])
    for name, values in ({} if limit is None else limit.columns).items():
        evidence = evidence.append_column(name, pyarrow.array(values))
    result = Audit(
        chain=measure(evidence, links, limit, uncertified),
        evidence=evidence,
        ledger=pyarrow.concat_tables([shard.ledger for shard in shards]),
        shards=shards,
        classifier=classifier,
        class_names=dataset.class_names,
        folder=None if run is None else run.path,
    )
    if run is not None:
        if limit is not None:
            run.write_table("limit.arrow", evidence.select(["index", *limit.columns]))
        write_json(run.path / "chain.json", result.to_json())
        run.draw("witnesses.png", result.plot())
    return result
