"""The link of certified accuracy: a certificate for each example that gets one."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from epsball.attacks import Ledger
from epsball.auditing.link import Columns, Findings, Shard
from epsball.certificates import METHODS, Certification, Verifier, arithmetic_of, methods_of
from epsball.statistics import Bound, clopper_pearson


@dataclass(frozen=True, kw_only=True)
class CertificateLink:
    """Whether an example is certified and stable, by which method, and the bound of every method run.

    In a run folder each certificate that can be replayed is a file under ``certificates``, named
    by the example's position.

    Parameters
    ----------
    method, semantics, budget, max_memory
        As for `epsball.certify`.
    """

    method: str = "auto"
    semantics: str = "float32"
    budget: int | None = None
    max_memory: int | None = None

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
        run = Certification(
            verifier=verifier,
            ball=shard.ball,
            methods=methods_of(self.method, verifier.graph, shard.ball.norm),
            budget=self.budget,
            max_memory=self.max_memory,
        )
        before = shard.classifier.passes.forward
        folder = None if shard.folder is None else shard.folder / "certificates"
        found = run.certificates(shard.classifier, shard.x, shard.y, folder=folder, numbers=shard.positions.tolist())
        n = len(shard.y)
        none = torch.full((n,), torch.nan, dtype=torch.float64)
        replayable = [method not in (None, "lipschitz") and found.not_replayable is None for method in found.method]
        return Findings(
            columns={
                "certificate.certified": found.certified,
                "certificate.stable": found.stable,
                "certificate.criterion": found.criterion,
                "certificate.margin": found.margin,
                "certificate.method": list(found.method),
                "certificate.semantics": [found.semantics] * n,
                "certificate.replayable": replayable,
                "certificate.passes": found.passes,
                **{f"certificate.{method}.margin": found.margins.get(method, none) for method in METHODS},
            },
            ledger=Ledger.overhead("guards", shard.classifier.passes.forward - before),
        )

    def places(self, evidence: Mapping[str, Tensor]) -> dict[str, Bound]:
        """Return certified accuracy, a lower end: what is not certified counts against it."""
        count, n = int(evidence["certificate.certified"].sum()), len(evidence["certificate.certified"])
        bound = Bound(value=count / n, interval=clopper_pearson(count, n), scope="distribution")
        return {"certified accuracy": bound}
