"""The search over chunks of examples, and the verification of what it finds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from epsball import progress
from epsball.attacks.engine.evaluator import PRECISIONS, Evaluator
from epsball.attacks.engine.judge import Judge
from epsball.attacks.engine.ledger import Ledger
from epsball.attacks.engine.query import STOPS, Query, SearchEnded, Stop
from epsball.attacks.engine.record import Nearest, Record
from epsball.attacks.parts.attack import Attack
from epsball.attacks.registry import gradient_free
from epsball.attacks.result import AttackResult
from epsball.ball import Ball
from epsball.checks import check_count
from epsball.classifier import Classifier
from epsball.errors import EpsballError, NoGradientError, lookup
from epsball.randomness import Keys, check_seed

T = TypeVar("T")

CHUNK = {"cpu": 128, "cuda": 1024}
"""Examples searched together, by type of device."""

_TOWARDS_VERIFIED = (2.0**-12, 2.0**-8, 2.0**-4)
"""Where rounding undoes a candidate, points at these shares of the way to the verified one are tried instead."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to search; see `epsball.attack` for each of them."""

    method: Attack
    seed: int = 0
    stop: Stop = "first"
    precision: str = "float32"
    budget: int | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        lookup(dict.fromkeys(STOPS), self.stop, "stop")
        lookup(dict.fromkeys(PRECISIONS), self.precision, "precision")
        check_seed(self.seed)
        check_count("budget", self.budget, unit="passes per example", optional=True)
        check_count("batch_size", self.batch_size, unit="examples searched together", optional=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """The examples of a search: those of a whole call, or consecutive ones of a data set.

    Parameters
    ----------
    x, y
        Examples and labels.
    index
        Their positions in the call's x.
    total, classes
        Number of examples of the whole call, and of classes.
    natural
        Canonical margins at the examples, if known.
    """

    x: Tensor
    y: Tensor
    index: Int64[Tensor, " n"]
    total: int
    classes: int
    natural: Float64[Tensor, " n"] | None = None


def search(classifier: Classifier, examples: Examples, ball: Ball, options: Options) -> AttackResult:
    """Return what a method finds on checked examples, verified and accounted for."""
    options.method.check_norm(ball)
    evaluator, judge = Evaluator(classifier, options.precision), Judge(classifier)
    keys = Keys.of_examples(examples.x, examples.y.long(), options.seed).derive(options.method.name)
    size = options.batch_size or CHUNK.get(classifier.device.type, CHUNK["cpu"])
    work = _Work(ball=ball, options=options, evaluator=evaluator, judge=judge, examples=examples, keys=keys)
    chunks: list[tuple[Record, Ledger]] = []
    for start in range(0, len(examples.x), size):
        chunks.append(work.chunk(slice(start, start + size)))
        progress.report(options.method.name, min(start + size, len(examples.x)), len(examples.x))
    padding = Ledger.overhead("padding", evaluator.padding[0] + judge.padding, evaluator.padding[1])
    return _collect(examples, chunks, padding, work.interrupted)


@dataclass(kw_only=True, eq=False)
class _Work:
    """One search, chunk by chunk."""

    ball: Ball
    options: Options
    evaluator: Evaluator
    judge: Judge
    examples: Examples
    keys: Keys
    interrupted: bool = False

    def chunk(self, rows: slice) -> tuple[Record, Ledger]:
        """Search one chunk; after an interruption only the examples themselves are judged."""
        record, natural = self._completed(lambda: self._open(rows))
        parts = [natural]
        if not self.interrupted:
            parts.append(self._search(record, rows))
        parts.append(self._completed(lambda: self._settle(record)))
        return record, Ledger.concatenate(parts)

    def _completed(self, part: Callable[[], T]) -> T:
        """Run a short part to its end; if it is interrupted, note that and run it again."""
        try:
            return part()
        except KeyboardInterrupt:
            self.interrupted = True
            return part()

    def _open(self, rows: slice) -> tuple[Record, Ledger]:
        """Return a chunk's record, which begins with the natural margins, and their ledger rows."""
        x = self.judge.classifier.to_model(self.examples.x[rows].detach())
        y = self.examples.y[rows].to(x.device, torch.int64)
        index = self.examples.index[rows].to(x.device)
        box = self.options.method.domain == "box"
        if self.examples.natural is not None:
            natural = self.examples.natural[rows].to(x.device)
            return Record(self.ball, x, y, index, natural, box=box), Ledger.empty()
        natural = self.judge.margins(x, y)
        cost = torch.full_like(index, self.judge.cost)
        return Record(self.ball, x, y, index, natural, box=box), Ledger.judged(index, "natural", natural, cost)

    def _search(self, record: Record, rows: slice) -> Ledger:
        options, examples = self.options, self.examples
        if self.interrupted:
            return Ledger.empty()
        query = Query(
            self.evaluator,
            self.judge,
            record,
            attack=options.method.name,
            stop=options.stop,
            budget=options.budget,
            total=examples.total,
            classes=examples.classes,
        )
        try:
            options.method(query, self.ball, keys=self._keys_by_index(record, rows))
        except SearchEnded:
            pass
        except NoGradientError as error:
            raise NoGradientError(
                f"{error} The attack 'adaptive' finds one by itself. Gradient-free: {', '.join(gradient_free())}."
            ) from error
        except KeyboardInterrupt:
            self.interrupted = True
        return query.counter.ledger()

    def _keys_by_index(self, record: Record, rows: slice) -> Keys:
        """Return keys indexed by position in the call's x; those of other chunks are zero."""
        words = torch.zeros(self.examples.total, dtype=torch.int64, device=record.x.device)
        words[record.index] = self.keys.words[rows].to(record.x.device)
        return Keys(words)

    def _settle(self, record: Record) -> Ledger:
        """Judge the candidates without a verdict; return the ledger rows of all verification."""
        entries = record.pending()
        if len(entries):
            points = record.candidates(entries)
            canonical = self.judge.margins(points, record.y[entries])
            record.confirm(entries, points, canonical, self.judge.cost)
        for candidates in record.nearest_candidates:
            self._confirm_nearest(record, candidates, 0.0)
        for share in _TOWARDS_VERIFIED if record.nearest_candidates else ():
            self._confirm_nearest(record, record.nearest_candidates[0], share)
        rows = torch.nonzero(record.judged)[:, 0]
        return Ledger.judged(record.index[rows], "verification", record.margin[rows], record.judged[rows])

    def _confirm_nearest(self, record: Record, candidates: Nearest, share: float) -> None:
        """Judge candidates nearer than the verified points, moved towards those by a share of the way."""
        entries = record.nearer(candidates)
        if len(entries):
            points = candidates.point[entries].lerp(record.nearest[entries], share)
            canonical = self.judge.margins(points, record.y[entries])
            record.confirm_nearest(entries, points, canonical, self.judge.cost)


def _collect(
    examples: Examples, chunks: list[tuple[Record, Ledger]], padding: Ledger, interrupted: bool
) -> AttackResult:
    records = [record for record, _ in chunks]
    device = examples.x.device
    x_adv, margin, broken, nearest, distance, failed = (
        torch.cat([getattr(record, name) for record in records]).to(device)
        for name in ("point", "margin", "broken", "nearest", "distance", "failed")
    )
    for record in records:
        if not bool(record.ball.contains(record.point, record.x).all()):
            raise EpsballError("a stored point lies outside its ball: a bug in epsball. Please report it.")
    return AttackResult(
        x_adv=x_adv,
        broken=broken,
        margin=torch.where(failed & ~broken, torch.nan, margin),
        nearest=nearest,
        distance=distance,
        by=[name for record in records for name in record.by],
        ledger=Ledger.concatenate([padding, *(ledger for _, ledger in chunks)]),
        invalid={
            position: reason
            for record in records
            for position, reason in record.reasons.items()
            if position in set(record.index[~record.broken].tolist())
        },
        interrupted=interrupted,
        notes=tuple(dict.fromkeys(note for record in records for note in record.notes)),
    )
