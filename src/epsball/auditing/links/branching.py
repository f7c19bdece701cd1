"""The link of branch and bound: what neither the cascade certifies nor the attack breaks is searched to the end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from jaxtyping import Int64
from torch import Tensor

from epsball.attacks import PGD, Attack, AttackResult, Ledger
from epsball.auditing.alarm import check_certificates
from epsball.auditing.link import Columns, Findings, Link
from epsball.auditing.searching import in_shard, rows_of, search_rows
from epsball.auditing.subject import Shard, Subject
from epsball.ball import Neighbourhood
from epsball.certificates import Certificates, Certification, Domain, Problem, Semantics
from epsball.certificates.certify import predictions_of
from epsball.data import as_pixels
from epsball.errors import UnsupportedOperation
from epsball.generator_state import preserved
from epsball.randomness import Keys

_FLAGS = ("certified", "stable")


@dataclass(frozen=True, kw_only=True)
class _FromPoints(PGD):
    """Ten steps of PGD from points that branch and bound met."""

    @property
    def name(self) -> str:
        """What witnesses are attributed to."""
        return "complete"


@dataclass(frozen=True, kw_only=True)
class BranchingLink(Link):
    """Certificates by branch and bound of examples that are open: right, not certified and not broken.

    It gives columns of the certificate and of the attack again, with what it found: certificates, and witnesses.
    A point at which it meets another class starts ten steps of PGD; only what the canonical pass confirms is broken,
    `attack.by` being ``complete``. What it certifies was attacked in full before, and is attacked ten steps from a
    start of its own.

    Parameters
    ----------
    passes
        Of each example's search, root included. A search by passes is repeatable, one by time is not.
    semantics
        Of the certificates.
    method
        The attack that ran before, which is run again on what contradicts a certificate, so that the point is found.
    check
        The short attack on what is certified here.
    """

    name: ClassVar[str] = "branching"
    schema: ClassVar[Mapping[str, str]] = {
        **{f"certificate.{name}": "bool" for name in (*_FLAGS, "replayable")},
        "certificate.margin": "double",
        "certificate.method": "string",
        "certificate.passes": "int64",
        "certificate.complete.margin": "double",
        "attack.broken": "bool",
        "attack.margin": "double",
        "attack.distance": "double",
        "attack.by": "string",
        "attack.forwards": "int64",
        "attack.backwards": "int64",
        "branching.ending": "string",
    }

    passes: int
    semantics: Semantics = "float32"
    method: Attack
    check: Attack = field(default_factory=lambda: PGD(steps=10))

    @staticmethod
    def refusal(subject: Subject, semantics: Semantics) -> str | None:
        """Return why the network cannot be searched through, or None."""
        x, _ = subject.dataset[:1]
        verifier = subject.verifier(semantics)
        rows = torch.zeros(1, 1, verifier.bounded.classes, dtype=torch.float64)
        domain = Domain.of(subject.ball, as_pixels(x))
        problem = Problem(graph=verifier.bounded, domain=domain, specification=rows, arithmetic=verifier.arithmetic)
        try:
            problem.propagate()
        except UnsupportedOperation as error:
            return str(error)
        return None

    def on_shard(self, shard: Shard, evidence: Columns) -> Findings:
        """Search the shard's open examples."""
        open_ = evidence["natural.correct"] & ~evidence["attack.broken"] & ~evidence["certificate.certified"]
        columns = {name: _copied(evidence.get(name)) for name in self.schema}
        if columns["certificate.complete.margin"] is None:
            columns["certificate.complete.margin"] = torch.full((len(shard.y),), torch.nan, dtype=torch.float64)
        columns["branching.ending"] = [None] * len(shard.y)
        rows = rows_of(open_)
        if not len(rows):
            return Findings(columns=columns)
        before = shard.subject.classifier.passes.forward
        found = self._certificates(shard, rows)
        guards = Ledger.overhead("guards", shard.subject.classifier.passes.forward - before)
        self._include(columns, rows, found)
        classifier = shard.subject.classifier
        with preserved(shard.subject.seed if classifier.stochastic else None), classifier.in_use():
            ledger, x_adv = self._judged(shard, evidence, columns, rows, found)
            checks = self._checked(shard, {**evidence, **columns}, rows[found.certified])
        return Findings(columns=columns, ledger=Ledger.concatenate([guards, ledger, *checks]), x_adv=x_adv)

    def _certificates(self, shard: Shard, rows: Int64[Tensor, " m"]) -> Certificates:
        subject = shard.subject
        run = Certification(
            verifier=subject.verifier(self.semantics), ball=subject.ball, methods=("complete",), budget=self.passes
        )
        x, y = shard.x[rows], shard.y[rows]
        predictions = shard.parts.kept(f"{self.name}: predictions", lambda: predictions_of(subject.classifier, x))
        if predictions is None:
            predictions = torch.full_like(y, -1), torch.zeros(len(y), subject.classes, dtype=torch.float64)
        return run.certificates(
            subject.classifier,
            x,
            y,
            folder=None if shard.folder is None else shard.folder / "certificates",
            numbers=shard.positions[rows].tolist(),
            predictions=predictions,
            keep=shard.parts.bounds(self.name, shard.rows[rows]),
        )

    def _include(self, columns: Columns, rows: Tensor, found: Certificates) -> None:
        """Enter what the search proved."""
        for name in _FLAGS:
            columns[f"certificate.{name}"][rows] = getattr(found, name)
        columns["certificate.complete.margin"][rows] = found.margin
        columns["certificate.margin"][rows] = torch.fmax(columns["certificate.margin"][rows], found.margin)
        columns["certificate.passes"][rows] += found.passes
        for at, row in enumerate(rows.tolist()):
            columns["branching.ending"][row] = found.endings.get(at, "proved" if bool(found.stable[at]) else None)
            if bool(found.stable[at]):
                columns["certificate.method"][row] = "complete"
                columns["certificate.replayable"][row] = found.replayable(at)

    def _judged(
        self, shard: Shard, evidence: Columns, columns: Columns, rows: Tensor, found: Certificates
    ) -> tuple[Ledger, dict[int, Tensor]]:
        """Attack from the points that the search met; enter the witnesses."""
        chosen = torch.tensor(sorted(found.met), dtype=torch.int64)
        if not len(chosen):
            return Ledger.empty(), {}
        points = {int(shard.rows[rows[at]]): found.met[at] for at in chosen.tolist()}

        def start(neighbourhood: Neighbourhood, keys: Keys, index: Tensor) -> Tensor:
            x = neighbourhood.region.x
            met = torch.stack([points[number].to(x) for number in index.tolist()]).view(len(index), *shard.x.shape[1:])
            return neighbourhood.project(met)

        at = rows[chosen]
        result = search_rows(shard, evidence, at, _FromPoints(steps=10, start=start), "branching witness")
        better = result.margin.cpu() < columns["attack.margin"][at]
        columns["attack.margin"][at[better]] = result.margin.cpu()[better]
        broken = result.broken.cpu()
        x_adv = {int(at[number]): result.x_adv[number] for number in rows_of(broken).tolist()}
        for name in ("broken", "distance"):
            columns[f"attack.{name}"][at[broken]] = getattr(result, name).cpu()[broken]
        for row in x_adv:
            columns["attack.by"][row] = "complete"
        own = result.ledger.searching()
        for name in ("forwards", "backwards"):
            index = result.ledger.index[own] - int(shard.rows[0])
            columns[f"attack.{name}"].index_add_(0, index, getattr(result.ledger, name)[own])
        return in_shard(result.ledger, shard), x_adv

    def _checked(self, shard: Shard, evidence: Columns, rows: Tensor) -> list[Ledger]:
        """Attack what is certified now; raise the alarm if a point contradicts it."""
        against = evidence["attack.margin"][rows] < evidence["certificate.margin"][rows]
        ledgers = []
        for some, method, name in ((rows, self.check, "branching check"), (rows[against], self.method, "again")):
            if len(some):
                result: AttackResult = search_rows(shard, evidence, some, method, name)
                check_certificates(shard, evidence, some, result.x_adv, result.margin)
                ledgers.append(in_shard(result.ledger, shard))
        return ledgers


def _copied(column: Any) -> Any:
    return column.clone() if isinstance(column, Tensor) else None if column is None else list(column)
