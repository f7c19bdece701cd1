"""The link of accuracy under attack: a verified witness for each broken example."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from epsball.attacks import Attack, AttackResult, Ledger, attack
from epsball.auditing.link import Columns, Findings, Shard
from epsball.statistics import Bound, clopper_pearson


@dataclass(frozen=True, kw_only=True)
class AttackLink:
    """Columns ``attack.broken``, ``attack.margin``, ``attack.distance``, ``attack.by`` and the passes.

    Examples that are misclassified or invalid before are not searched: the former are their
    own witness, at distance 0, and are no part of ``attack.broken``.

    Parameters
    ----------
    method
        The attack.
    precision
        Of the search; verdicts come from the canonical pass.
    """

    method: Attack
    precision: str = "float32"

    @property
    def name(self) -> str:
        """The prefix of its columns."""
        return "attack"

    def describe(self) -> dict[str, object]:
        """Return method and precision."""
        options = dataclasses.asdict(self.method) if dataclasses.is_dataclass(self.method) else {}
        shown = {key: value if isinstance(value, int | float | str) else repr(value) for key, value in options.items()}
        return {"method": self.method.name, "options": shown, "precision": self.precision}

    def __call__(self, shard: Shard, evidence: Columns) -> Findings:
        """Attack the examples that stand."""
        standing = torch.nonzero(evidence["natural.correct"])[:, 0]
        if len(standing) == 0:
            return Findings(columns=self._columns(shard, evidence, standing, None), ledger=None)
        result = attack(
            shard.classifier,
            shard.x[standing],
            shard.y[standing],
            shard.ball,
            method=self.method,
            seed=shard.seed,
            precision=self.precision,
        )
        if result.interrupted:
            raise KeyboardInterrupt
        ledger = dataclasses.replace(
            result.ledger,
            index=torch.where(result.ledger.index < 0, result.ledger.index, standing[result.ledger.index]),
        )
        return Findings(
            columns=self._columns(shard, evidence, standing, result),
            invalid={int(standing[row]): reason for row, reason in result.invalid.items()},
            ledger=ledger,
            witnesses=result.x_adv[result.broken],
        )

    def _columns(self, shard: Shard, evidence: Columns, standing: Tensor, result: AttackResult | None) -> Columns:
        n = len(shard.y)
        broken = torch.zeros(n, dtype=torch.bool)
        margin = evidence["natural.margin"].clone()
        distance = torch.full((n,), torch.nan, dtype=torch.float64)
        forwards, backwards = torch.zeros(n, dtype=torch.int64), torch.zeros(n, dtype=torch.int64)
        if result is not None:
            broken[standing], margin[standing] = result.broken, result.margin
            distance[standing] = result.distance
            spent_f, spent_b = _passes_by_example(result.ledger, len(standing))
            forwards[standing], backwards[standing] = spent_f, spent_b
        return {
            "attack.broken": broken,
            "attack.margin": margin,
            "attack.distance": distance,
            "attack.by": [self.method.name if hit else None for hit in broken.tolist()],
            "attack.forwards": forwards,
            "attack.backwards": backwards,
        }

    def places(self, evidence: Mapping[str, Tensor]) -> dict[str, Bound]:
        """Return accuracy under attack, an upper end: invalid examples count as standing."""
        standing = (evidence["natural.correct"] & ~evidence["attack.broken"]) | evidence["invalid"]
        count, n = int(standing.sum()), len(standing)
        return {"accuracy under attack": Bound(value=count / n, interval=clopper_pearson(count, n))}


def _passes_by_example(ledger: Ledger, n: int) -> tuple[Tensor, Tensor]:
    """Return forwards and backwards of each example, those of no example left out."""
    rows = ledger.index >= 0
    index = ledger.index[rows]
    zero = torch.zeros(n, dtype=torch.int64)
    return zero.index_add(0, index, ledger.forwards[rows]), zero.index_add(0, index, ledger.backwards[rows])
