"""The link of accuracy under attack: a verified witness for each broken example."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from epsball.attacks import Attack, AttackResult, Ledger
from epsball.attacks.search import Examples, Options, search
from epsball.auditing.link import Columns, Findings, Shard
from epsball.generators import preserved
from epsball.statistics import Bound, clopper_pearson


@dataclass(frozen=True, kw_only=True)
class AttackLink:
    """Whether an example is broken, its least margin, the witness's distance, who found it, and the passes.

    Examples without a verdict at x are not searched. Misclassified ones are broken at
    distance 0, by nobody. The passes are the method's own.

    Parameters
    ----------
    method
        The attack.
    precision
        Of the search; verdicts come from the canonical pass.
    batch_size
        Examples searched together.
    """

    method: Attack
    precision: str = "float32"
    batch_size: int | None = None

    @property
    def name(self) -> str:
        """The prefix of its columns."""
        return "attack"

    @property
    def schema(self) -> dict[str, str]:
        """The Arrow types of its columns."""
        return {
            "attack.broken": "bool",
            "attack.margin": "double",
            "attack.distance": "double",
            "attack.by": "string",
            "attack.forwards": "int64",
            "attack.backwards": "int64",
        }

    def __call__(self, shard: Shard, evidence: Columns) -> Findings:
        """Attack the shard's examples, whose natural margins are known."""
        options = Options(method=self.method, seed=shard.seed, precision=self.precision, batch_size=self.batch_size)
        examples = Examples(
            x=shard.x,
            y=shard.y,
            index=shard.rows,
            total=shard.total,
            classes=shard.classes,
            natural=evidence["natural.margin"],
        )
        with preserved(shard.seed if shard.classifier.stochastic else None), shard.classifier.in_use():
            result = search(shard.classifier, examples, shard.ball, options)
        if result.interrupted:
            raise KeyboardInterrupt
        first = int(shard.rows[0])
        found = torch.nonzero(result.broken & evidence["natural.correct"])[:, 0].tolist()
        return Findings(
            columns=self._columns(result, set(found), first),
            invalid={row - first: reason for row, reason in result.invalid.items()},
            ledger=_shifted(result.ledger, first),
            x_adv={row: result.x_adv[row] for row in found},
        )

    def _columns(self, result: AttackResult, found: set[int], first: int) -> Columns:
        own = result.ledger.searching()
        index = result.ledger.index[own] - first
        none = torch.zeros(len(result.broken), dtype=torch.int64)
        return {
            "attack.broken": result.broken,
            "attack.margin": result.margin,
            "attack.distance": result.distance,
            "attack.by": [by if row in found else None for row, by in enumerate(result.by)],
            "attack.forwards": none.index_add(0, index, result.ledger.forwards[own]),
            "attack.backwards": none.index_add(0, index, result.ledger.backwards[own]),
        }

    def places(self, evidence: Mapping[str, Tensor]) -> dict[str, Bound]:
        """Return accuracy under attack, an upper end: examples without verdict at x count as standing."""
        standing = (evidence["natural.correct"] & ~evidence["attack.broken"]) | evidence["natural.failed"]
        count, n = int(standing.sum()), len(standing)
        bound = Bound(value=count / n, interval=clopper_pearson(count, n), scope="distribution")
        return {"accuracy under attack": bound}


def _shifted(ledger: Ledger, first: int) -> Ledger:
    """Return the ledger with its index counted from the shard's first row."""
    return dataclasses.replace(ledger, index=torch.where(ledger.index < 0, ledger.index, ledger.index - first))
