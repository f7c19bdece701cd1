"""The link of accuracy under attack: a verified witness for each broken example."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from epsball.attacks import PGD, Attack, AttackResult, Ledger
from epsball.attacks.engine.evaluator import Precision
from epsball.auditing.alarm import check_certificates
from epsball.auditing.chain import ATTACK
from epsball.auditing.evidence import accuracy_under_attack, flags
from epsball.auditing.link import Columns, Findings, Link, RunFindings
from epsball.auditing.searching import in_shard, rows_of, sampled, search_rows
from epsball.auditing.subject import Shard, Subject
from epsball.generator_state import preserved

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True, kw_only=True)
class AttackLink(Link):
    """Whether an example is broken, its least margin, the witness's distance, the attack that found it, the passes.

    Examples without a verdict at x are not searched. Misclassified ones are broken at distance 0, by no attack.
    The passes are the methods' own.

    A certified example gets a short attack, so that a wrong certificate is found; some of the certified, drawn by
    key, get the full attack; `attack.whole` says which. What is broken by points taken over from other runs is not
    searched: its columns are those of `TakenLink`. Where an example is stable but misclassified, the short
    attack runs against its predicted class.

    Parameters
    ----------
    method
        The attack.
    precision
        Of the search; verdicts come from the canonical pass.
    batch_size
        Examples searched together.
    check
        The short attack on the certified.
    share, fewest
        The share of the certified that gets the full attack, and the fewest per shard.
    """

    name: ClassVar[str] = "attack"
    schema: ClassVar[Mapping[str, str]] = {
        "attack.broken": "bool",
        "attack.whole": "bool",
        "attack.margin": "double",
        "attack.distance": "double",
        "attack.by": "string",
        "attack.forwards": "int64",
        "attack.backwards": "int64",
    }

    method: Attack
    precision: Precision = "float32"
    batch_size: int | None = None
    check: Attack = field(default_factory=lambda: PGD(steps=10))
    share: float = 0.02
    fewest: int = 5

    def on_shard(self, shard: Shard, evidence: Columns) -> Findings:
        """Attack the shard's examples, whose natural margins are known, and compare with their certificates."""
        subject, taken = shard.subject, _taken(evidence, len(shard.y))
        full = self._full(shard, evidence) & ~taken
        with preserved(subject.seed if subject.classifier.stochastic else None), subject.classifier.in_use():
            parts = [
                (rows, self._search(shard, evidence, rows, method, name))
                for rows, method, name in (
                    (rows_of(full), self.method, "attack"),
                    (rows_of(~full & ~taken), self.check, "check"),
                )
                if len(rows)
            ]
            stability = self._stability(shard, evidence)
        for rows, result in parts:
            right = evidence["natural.prediction"][rows] == shard.y[rows]
            check_certificates(
                shard, evidence, rows[right], result.x_adv[right.to(result.x_adv.device)], result.margin[right]
            )
        found = self._findings(shard, evidence, full, parts, stability)
        for name in ("broken", "margin", "distance"):
            found.columns[f"attack.{name}"][taken] = evidence[f"taken.{name}"][taken] if bool(taken.any()) else 0
        for row in rows_of(taken).tolist():
            found.columns["attack.by"][row] = evidence["taken.by"][row]
        return found

    def _full(self, shard: Shard, evidence: Columns) -> Tensor:
        """Return which examples get the full attack."""
        certified = evidence.get("certificate.certified", torch.zeros(len(shard.y), dtype=torch.bool))
        return ~certified | sampled(shard, certified, self.share, self.fewest)

    def _search(
        self, shard: Shard, evidence: Columns, rows: Tensor, method: Attack, name: str, y: Tensor | None = None
    ) -> AttackResult:
        options = {"precision": self.precision, "batch_size": self.batch_size}
        return search_rows(shard, evidence, rows, method, name, y=y, **options)

    def _stability(self, shard: Shard, evidence: Columns) -> Ledger:
        """Attack the predictions of stable, misclassified examples: only a wrong certificate can fall."""
        stable = evidence.get("certificate.stable", torch.zeros(len(shard.y), dtype=torch.bool))
        predicted = evidence["natural.prediction"]
        rows = rows_of(stable & (predicted != shard.y))
        if not len(rows):
            return Ledger.empty()
        result = self._search(shard, evidence, rows, self.check, "stability", predicted[rows])
        check_certificates(shard, evidence, rows, result.x_adv, result.margin)
        return result.ledger

    def _findings(
        self,
        shard: Shard,
        evidence: Columns,
        full: Tensor,
        parts: Sequence[tuple[Tensor, AttackResult]],
        stability: Ledger,
    ) -> Findings:
        n, first = len(shard.y), int(shard.rows[0])
        columns: Columns = {
            "attack.broken": torch.zeros(n, dtype=torch.bool),
            "attack.whole": full,
            "attack.margin": torch.full((n,), torch.nan, dtype=torch.float64),
            "attack.distance": torch.full((n,), torch.nan, dtype=torch.float64),
            "attack.by": [None] * n,
        }
        x_adv: dict[int, Tensor] = {}
        nearest: dict[int, Tensor] = {}
        invalid: dict[int, str] = {}
        for rows, result in parts:
            for name in ("broken", "margin", "distance"):
                columns[f"attack.{name}"][rows] = getattr(result, name).cpu()
            for at in rows_of(result.broken.cpu() & evidence["natural.correct"][rows]).tolist():
                columns["attack.by"][int(rows[at])] = result.by[at]
                x_adv[int(rows[at])] = result.x_adv[at]
            for at in rows_of(~result.broken.cpu() & evidence["natural.correct"][rows]).tolist():
                nearest[int(rows[at])] = result.x_adv[at]
            invalid |= {row - first: reason for row, reason in result.invalid.items()}
        ledger = Ledger.concatenate([*(result.ledger for _, result in parts), stability])
        own = ledger.searching()
        none = torch.zeros(n, dtype=torch.int64)
        for name in ("forwards", "backwards"):
            columns[f"attack.{name}"] = none.index_add(0, ledger.index[own] - first, getattr(ledger, name)[own])
        notes = [note for _, result in parts for note in result.notes]
        return Findings(
            columns=columns,
            invalid=invalid,
            ledger=in_shard(ledger, shard),
            x_adv=x_adv,
            nearest=nearest,
            notes=notes,
        )

    def on_run(self, subject: Subject, evidence: "pyarrow.Table") -> RunFindings:
        """Return accuracy under attack, an upper end: examples without a verdict at x count as unbroken."""
        return RunFindings(bounds={ATTACK: accuracy_under_attack(flags(evidence))})


def _taken(evidence: Columns, n: int) -> Tensor:
    """Return which examples are broken by points taken over from other runs."""
    return evidence.get("taken.broken", torch.zeros(n, dtype=torch.bool))
