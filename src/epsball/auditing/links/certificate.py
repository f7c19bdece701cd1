"""The link of certified accuracy: a certificate for each example that gets one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from epsball.attacks import PGD, Attack, Ledger
from epsball.auditing.link import Columns, Findings, Shard
from epsball.auditing.searching import attacked, in_shard, rows_of, sampled
from epsball.certificates import (
    AUTO,
    METHODS,
    Certificates,
    Certification,
    Semantics,
    Verifier,
    arithmetic_of,
    methods_of,
)
from epsball.generator_state import preserved
from epsball.statistics import Bound, clopper_pearson

DEAR = ("crown", "optimised")
"""Methods that cost an example hundreds of passes."""


@dataclass(frozen=True, kw_only=True)
class CertificateLink:
    """Whether an example is certified and stable, by which method, and the bound of every method run.

    In a run folder each certificate that can be replayed is a file under ``certificates``, named
    by the example's position.

    The cascade's `DEAR` methods are for examples that a short attack leaves standing: no bound that holds could
    certify the others. Some of those, drawn by key, get all methods, so that a wrong certificate can be found
    out; `certificate.whole` says which examples do.

    Parameters
    ----------
    method, semantics, budget, max_memory
        As for `epsball.certify`.
    sieve
        The short attack. A method asked for by name is run on every example.
    share, fewest
        The share of those broken by it that get all methods, and the fewest of a shard.
    """

    method: str = AUTO
    semantics: Semantics = "float32"
    budget: int | None = None
    max_memory: int | None = None
    sieve: Attack = field(default_factory=lambda: PGD(steps=10))
    share: float = 0.02
    fewest: int = 5

    @property
    def name(self) -> str:
        """The prefix of its columns."""
        return "certificate"

    @property
    def schema(self) -> dict[str, str]:
        """The Arrow types of its columns."""
        return {
            "certificate.certified": "bool",
            "certificate.stable": "bool",
            "certificate.whole": "bool",
            "certificate.criterion": "bool",
            "certificate.margin": "double",
            "certificate.method": "string",
            "certificate.semantics": "string",
            "certificate.replayable": "bool",
            "certificate.passes": "int64",
            **{f"certificate.{method}.margin": "double" for method in METHODS},
        }

    def __call__(self, shard: Shard, evidence: Columns) -> Findings:
        """Certify the shard's examples."""
        verifier = Verifier.of(shard.classifier, tuple(shard.x.shape[1:]), arithmetic_of(self.semantics))
        methods = methods_of(self.method, verifier.graph, shard.ball.norm)
        whole, sieved = self._whole(shard, evidence)
        before = shard.classifier.passes.forward
        cheap = tuple(method for method in methods if method not in DEAR)
        parts = [
            (rows, self._certificates(verifier, shard, rows, names))
            for rows, names in ((rows_of(whole), methods), (rows_of(~whole), cheap))
            if len(rows)
        ]
        guards = Ledger.overhead("guards", shard.classifier.passes.forward - before)
        return Findings(columns=_columns(whole, parts), ledger=Ledger.concatenate([guards, sieved]))

    def _whole(self, shard: Shard, evidence: Columns) -> tuple[Tensor, Ledger]:
        """Return which examples all methods are for, and what it cost to find out."""
        whole = torch.ones(len(shard.y), dtype=torch.bool)
        right = rows_of(evidence["natural.correct"])
        if self.method != AUTO or not len(right):
            return whole, Ledger.empty()
        with preserved(shard.seed if shard.classifier.stochastic else None), shard.classifier.in_use():
            result = attacked(shard, evidence, right, self.sieve)
        whole[right] = ~result.broken.cpu()
        return whole | sampled(shard, ~whole, self.share, self.fewest), in_shard(result.ledger, shard)

    def _certificates(self, verifier: Verifier, shard: Shard, rows: Tensor, methods: tuple[str, ...]) -> Certificates:
        run = Certification(
            verifier=verifier, ball=shard.ball, methods=methods, budget=self.budget, max_memory=self.max_memory
        )
        folder = None if shard.folder is None else shard.folder / "certificates"
        numbers = shard.positions[rows].tolist()
        return run.certificates(shard.classifier, shard.x[rows], shard.y[rows], folder=folder, numbers=numbers)

    def places(self, evidence: Mapping[str, Tensor]) -> dict[str, Bound]:
        """Return certified accuracy, a lower end: what is not certified counts against it."""
        count, n = int(evidence["certificate.certified"].sum()), len(evidence["certificate.certified"])
        bound = Bound(value=count / n, interval=clopper_pearson(count, n), scope="distribution")
        return {"certified accuracy": bound}


def _columns(whole: Tensor, parts: Sequence[tuple[Tensor, Certificates]]) -> Columns:
    """Return the columns of a shard from the certificates of its parts."""
    n = len(whole)
    flags = ("certified", "stable", "criterion")
    columns: Columns = {
        **{f"certificate.{name}": torch.zeros(n, dtype=torch.bool) for name in (*flags, "replayable")},
        "certificate.whole": whole,
        "certificate.passes": torch.zeros(n, dtype=torch.int64),
        "certificate.method": [None] * n,
        "certificate.semantics": [parts[0][1].semantics] * n,
        "certificate.margin": torch.full((n,), torch.nan, dtype=torch.float64),
        **{f"certificate.{method}.margin": torch.full((n,), torch.nan, dtype=torch.float64) for method in METHODS},
    }
    for rows, found in parts:
        for name in (*flags, "margin", "passes"):
            columns[f"certificate.{name}"][rows] = getattr(found, name)
        for method, bounds in found.margins.items():
            columns[f"certificate.{method}.margin"][rows] = bounds
        for row, method in zip(rows.tolist(), found.method, strict=True):
            columns["certificate.method"][row] = method
            replayable = method is not None and METHODS[method].replay is not None and found.not_replayable is None
            columns["certificate.replayable"][row] = replayable
    return columns
