"""What links share: an attack on some rows of a shard, and a sample of rows drawn by key."""

import dataclasses
import math

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from epsball.attacks import Attack, AttackResult, Ledger
from epsball.attacks.engine.evaluator import Precision
from epsball.attacks.search import Examples, Options, search
from epsball.auditing.link import Columns
from epsball.auditing.subject import Shard
from epsball.randomness import Keys


def search_rows(
    shard: Shard,
    evidence: Columns,
    rows: Int64[Tensor, " m"],
    method: Attack,
    name: str,
    *,
    y: Int64[Tensor, " m"] | None = None,
    precision: Precision = "float32",
    batch_size: int | None = None,
) -> AttackResult:
    """Attack some rows of the shard: away from their labels or, where `y` is given, from those classes.

    What each chunk finds is kept under `name` among the shard's parts.

    Raises
    ------
    KeyboardInterrupt
        If the search is interrupted now; where it was before, the rest counts as not searched.
    """
    subject = shard.subject
    options = Options(method=method, seed=subject.seed, precision=precision, batch_size=batch_size)
    examples = Examples(
        x=shard.x[rows],
        y=shard.y[rows] if y is None else y,
        index=shard.rows[rows],
        total=len(subject.dataset),
        classes=subject.classes,
        natural=evidence["natural.margin"][rows] if y is None else None,
    )
    result = search(subject.classifier, examples, subject.ball, options, shard.parts.attack(name, examples.index))
    if result.interrupted and not shard.parts.closed:
        raise KeyboardInterrupt
    return result


def sampled(shard: Shard, among: Bool[Tensor, " n"], share: float, fewest: int) -> Bool[Tensor, " n"]:
    """Return a share of the rows in `among`, at least `fewest` of them, drawn by the examples' keys."""
    words = Keys.of_examples(shard.x, shard.y, shard.subject.seed).derive("audited").words.cpu()
    drawn = words.masked_fill(~among, torch.iinfo(torch.int64).max).argsort()
    count = int(among.sum())
    some = drawn[: min(count, max(fewest, math.ceil(share * count)))]
    return torch.zeros_like(among).index_fill(0, some, True)


def rows_of(flags: Bool[Tensor, " n"]) -> Int64[Tensor, " m"]:
    """Return the positions of the rows that are flagged."""
    return torch.nonzero(flags)[:, 0]


def in_shard(ledger: Ledger, shard: Shard) -> Ledger:
    """Return the ledger with its index counted from the shard's first row."""
    first = int(shard.rows[0])
    return dataclasses.replace(ledger, index=torch.where(ledger.index < 0, ledger.index, ledger.index - first))
