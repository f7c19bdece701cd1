"""The link of accuracy under attack: a verified witness for each broken example."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from epsball.attacks import PGD, Attack, AttackResult, Ledger
from epsball.attacks.search import Examples, Options, search
from epsball.auditing import alarm
from epsball.auditing.link import Columns, Findings, Shard
from epsball.generators import preserved
from epsball.randomness import Keys
from epsball.statistics import Bound, clopper_pearson


@dataclass(frozen=True, kw_only=True)
class AttackLink:
    """Whether an example is broken, its least margin, the witness's distance, who found it, and the passes.

    Examples without a verdict at x are not searched. Misclassified ones are broken at distance 0, by nobody.
    The passes are the methods' own.

    A certified example gets a short attack only, so that a wrong certificate can be found out; some of the
    certified, drawn by key, get the whole one; `attack.whole` says which. Where an example is stable but
    misclassified, the short attack runs against its predicted class.

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
        The share of the certified that gets the whole attack, and the fewest of a shard.
    """

    method: Attack
    precision: str = "float32"
    batch_size: int | None = None
    check: Attack = field(default_factory=lambda: PGD(steps=10))
    share: float = 0.02
    fewest: int = 5

    @property
    def name(self) -> str:
        """The prefix of its columns."""
        return "attack"

    @property
    def schema(self) -> dict[str, str]:
        """The Arrow types of its columns."""
        return {
            "attack.broken": "bool",
            "attack.whole": "bool",
            "attack.margin": "double",
            "attack.distance": "double",
            "attack.by": "string",
            "attack.forwards": "int64",
            "attack.backwards": "int64",
        }

    def __call__(self, shard: Shard, evidence: Columns) -> Findings:
        """Attack the shard's examples, whose natural margins are known, and compare with their certificates."""
        whole = self._whole(shard, evidence)
        with preserved(shard.seed if shard.classifier.stochastic else None), shard.classifier.in_use():
            parts = [
                (rows, self._search(shard, evidence, rows, method))
                for rows, method in ((_rows(whole), self.method), (_rows(~whole), self.check))
                if len(rows)
            ]
            stability = self._stability(shard, evidence)
        for rows, result in parts:
            right = evidence["natural.prediction"][rows] == shard.y[rows]
            alarm.check(shard, evidence, rows[right], result.x_adv[right.to(result.x_adv.device)], result.margin[right])
        return self._findings(shard, evidence, whole, parts, stability)

    def _whole(self, shard: Shard, evidence: Columns) -> Tensor:
        """Return which examples get the whole attack."""
        n = len(shard.y)
        certified = evidence.get("certificate.certified", torch.zeros(n, dtype=torch.bool))
        words = Keys.of_examples(shard.x, shard.y, shard.seed).derive("audited").words.cpu()
        drawn = words.masked_fill(~certified, torch.iinfo(torch.int64).max).argsort()
        some = drawn[: min(int(certified.sum()), max(self.fewest, math.ceil(self.share * int(certified.sum()))))]
        return (~certified).index_fill(0, some, True)

    def _search(
        self, shard: Shard, evidence: Columns, rows: Tensor, method: Attack, y: Tensor | None = None
    ) -> AttackResult:
        """Search some rows of the shard: from their labels or, where `y` is given, from other classes."""
        options = Options(method=method, seed=shard.seed, precision=self.precision, batch_size=self.batch_size)
        examples = Examples(
            x=shard.x[rows],
            y=shard.y[rows] if y is None else y,
            index=shard.rows[rows],
            total=shard.total,
            classes=shard.classes,
            natural=evidence["natural.margin"][rows] if y is None else None,
        )
        result = search(shard.classifier, examples, shard.ball, options)
        if result.interrupted:
            raise KeyboardInterrupt
        return result

    def _stability(self, shard: Shard, evidence: Columns) -> Ledger:
        """Attack the predictions of stable, misclassified examples: only a wrong certificate can fall."""
        stable = evidence.get("certificate.stable", torch.zeros(len(shard.y), dtype=torch.bool))
        predicted = evidence["natural.prediction"]
        rows = _rows(stable & (predicted != shard.y))
        if not len(rows):
            return Ledger.empty()
        result = self._search(shard, evidence, rows, self.check, predicted[rows])
        alarm.check(shard, evidence, rows, result.x_adv, result.margin)
        return result.ledger

    def _findings(
        self,
        shard: Shard,
        evidence: Columns,
        whole: Tensor,
        parts: Sequence[tuple[Tensor, AttackResult]],
        stability: Ledger,
    ) -> Findings:
        n, first = len(shard.y), int(shard.rows[0])
        columns: Columns = {
            "attack.broken": torch.zeros(n, dtype=torch.bool),
            "attack.whole": whole,
            "attack.margin": torch.full((n,), torch.nan, dtype=torch.float64),
            "attack.distance": torch.full((n,), torch.nan, dtype=torch.float64),
            "attack.by": [None] * n,
        }
        x_adv: dict[int, Tensor] = {}
        invalid: dict[int, str] = {}
        for rows, result in parts:
            for name in ("broken", "margin", "distance"):
                columns[f"attack.{name}"][rows] = getattr(result, name).cpu()
            for at in _rows(result.broken.cpu() & evidence["natural.correct"][rows]).tolist():
                columns["attack.by"][int(rows[at])] = result.by[at]
                x_adv[int(rows[at])] = result.x_adv[at]
            invalid |= {row - first: reason for row, reason in result.invalid.items()}
        ledger = Ledger.concatenate([*(result.ledger for _, result in parts), stability])
        own = ledger.searching()
        none = torch.zeros(n, dtype=torch.int64)
        for name in ("forwards", "backwards"):
            columns[f"attack.{name}"] = none.index_add(0, ledger.index[own] - first, getattr(ledger, name)[own])
        return Findings(columns=columns, invalid=invalid, ledger=_shifted(ledger, first), x_adv=x_adv)

    def places(self, evidence: Mapping[str, Tensor]) -> dict[str, Bound]:
        """Return accuracy under attack, an upper end: examples without verdict at x count as standing."""
        standing = (evidence["natural.correct"] & ~evidence["attack.broken"]) | evidence["natural.failed"]
        count, n = int(standing.sum()), len(standing)
        bound = Bound(value=count / n, interval=clopper_pearson(count, n), scope="distribution")
        return {"accuracy under attack": bound}


def _rows(flags: Tensor) -> Tensor:
    return torch.nonzero(flags)[:, 0]


def _shifted(ledger: Ledger, first: int) -> Ledger:
    """Return the ledger with its index counted from the shard's first row."""
    return dataclasses.replace(ledger, index=torch.where(ledger.index < 0, ledger.index, ledger.index - first))
