"""`audit`: the whole chain, per example, with evidence."""

import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from epsball import data as datasets
from epsball import progress
from epsball.attacks import PGD, Attack
from epsball.attacks.driver import check_box
from epsball.attacks.registry import resolve
from epsball.auditing.chain import Chain, measure
from epsball.auditing.evidence import ShardEvidence, gather
from epsball.auditing.folder import RunFolder, environment
from epsball.auditing.link import Link, Shard
from epsball.auditing.links import AttackLink, NaturalLink
from epsball.auditing.picture import witness_picture
from epsball.ball import Ball
from epsball.classifier import Classifier
from epsball.errors import InputError, nearest
from epsball.files import write_json

if TYPE_CHECKING:
    import pyarrow
    from matplotlib.figure import Figure

BUDGETS: dict[str, Attack] = {
    "quick": PGD(steps=40),
    "standard": PGD(steps=100, restarts=5),
    "full": PGD(steps=200, restarts=20),
}
"""The attack each budget buys."""

SHARD = 1000
"""Examples audited and written as one piece."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Audit:
    """The chain of one classifier on one data set, with its evidence.

    Parameters
    ----------
    chain
        The numbers, with intervals, the risk decomposition and the counts of verdicts.
    evidence
        One row an example.
    ledger
        Passes by example, attack and restart.
    index, x, x_adv
        Position, example and witness of each broken example.
    classifier, class_names
        The classifier audited, and the names of the data's classes, if it has any.
    folder
        Where the run was written, or None.
    """

    chain: Chain
    evidence: "pyarrow.Table"
    ledger: "pyarrow.Table"
    index: Int64[Tensor, " m"]
    x: Float[Tensor, "m *shape"]
    x_adv: Float[Tensor, "m *shape"]
    classifier: Classifier
    class_names: Sequence[str] | None
    folder: Path | None

    def __str__(self) -> str:
        return str(self.chain)

    def to_json(self) -> dict[str, object]:
        """Return the chain, and the folder of the evidence, as JSON's types."""
        return {**self.chain.to_json(), "folder": None if self.folder is None else str(self.folder)}

    def to_arrow(self) -> "pyarrow.Table":
        """Return the evidence."""
        return self.evidence

    def plot(self) -> "Figure":
        """Draw the first broken examples: clean, witness, magnified difference."""
        labels = {row["index"]: row["label"] for row in self.evidence.select(["index", "label"]).to_pylist()}
        y = torch.tensor([labels[i] for i in self.index.tolist()], dtype=torch.int64)
        return witness_picture(self.classifier, self.x, y, self.x_adv, self.index, self.class_names)


def audit(
    classifier: Classifier,
    data: object,
    ball: Ball,
    *,
    budget: str = "quick",
    attack: str | Attack | None = None,
    precision: str = "float32",
    seed: int = 0,
    folder: str | Path | None = None,
) -> Audit:
    """Measure the chain of a classifier on a data set, per example, with evidence.

    The data are read in shards, so that they need not fit into memory. With a folder, each
    finished shard is on disk; the same call with the same folder goes on after a kill.

    Parameters
    ----------
    classifier
        The model under test.
    data
        A text, an (x, y) pair, or an object with ``len`` and slicing to (x, y).
    ball
        The perturbation set.
    budget
        ``"quick"``, ``"standard"`` or ``"full"``: the attack, where none is named.
    attack
        An attack, or the name of one, instead of the budget's.
    precision
        Of the search: ``"float32"`` or ``"bf16"``.
    seed
        Seed of every draw.
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
    check_box(ball, classifier)
    dataset = datasets.load(data)
    method = _chosen(budget) if attack is None else resolve(attack)
    links: list[Link] = [NaturalLink(), AttackLink(method=method, precision=precision)]
    description = _describe(classifier, dataset, ball, links, seed) if folder is not None else {}
    run = RunFolder(folder, description) if folder is not None else None
    shards = list(_shards(classifier, dataset, ball, links, seed, run))
    return _finish(shards, links, classifier, dataset.class_names, run)


def _chosen(budget: str) -> Attack:
    if budget not in BUDGETS:
        raise InputError(f"unknown budget '{budget}'; known: {', '.join(BUDGETS)}.{nearest(budget, BUDGETS)}")
    return BUDGETS[budget]


def _shards(
    classifier: Classifier,
    dataset: datasets.Dataset,
    ball: Ball,
    links: Sequence[Link],
    seed: int,
    run: RunFolder | None,
) -> Iterator[ShardEvidence]:
    for number, start in enumerate(range(0, len(dataset), SHARD)):
        done = run.load(number) if run is not None else None
        if done is None:
            rows = slice(start, start + SHARD)
            x, y = dataset[rows]
            x = datasets.as_pixels(x)
            classifier.check(x, y)
            shard = Shard(classifier=classifier, ball=ball, seed=seed, x=x, y=y, positions=dataset.positions[rows])
            done = gather(links, shard)
            if run is not None:
                run.store(number, done)
        progress.report("examples audited", min(start + SHARD, len(dataset)), len(dataset))
        yield done


def _finish(
    shards: Sequence[ShardEvidence],
    links: Sequence[Link],
    classifier: Classifier,
    class_names: Sequence[str] | None,
    run: RunFolder | None,
) -> Audit:
    import pyarrow

    evidence = pyarrow.concat_tables([shard.table for shard in shards])
    result = Audit(
        chain=measure(evidence, links),
        evidence=evidence,
        ledger=pyarrow.concat_tables([shard.ledger for shard in shards]),
        index=torch.cat([shard.index for shard in shards]),
        x=torch.cat([shard.x for shard in shards]),
        x_adv=torch.cat([shard.x_adv for shard in shards]),
        classifier=classifier,
        class_names=class_names,
        folder=None if run is None else run.path,
    )
    if run is not None:
        write_json(run.path / "chain.json", result.to_json())
        if len(result.index):
            result.plot().savefig(run.path / "witnesses.png", dpi=120)
    return result


def _describe(
    classifier: Classifier, dataset: datasets.Dataset, ball: Ball, links: Sequence[Link], seed: int
) -> dict[str, object]:
    """Return what decides the verdicts: the run's identity."""
    return {
        "model": {
            "fingerprint": classifier.fingerprint(),
            "dtype": str(classifier.dtype),
            "device": classifier.device.type,
            "box": [classifier.low, classifier.high],
            "stochastic": classifier.stochastic,
        },
        "data": {"name": dataset.name, "fingerprint": dataset.fingerprint(), "examples": len(dataset)},
        "ball": str(ball),
        "links": {link.name: link.describe() for link in links},
        "seed": seed,
        "shard": SHARD,
        "versions": {**environment(), "python": platform.python_version()},
    }
