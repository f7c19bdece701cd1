"""The search over chunks of examples, and the verification of what it finds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from epsball import progress
from epsball.attacks.engine.evaluator import PRECISIONS, Evaluator
from epsball.attacks.engine.judge import Judge
from epsball.attacks.engine.ledger import Ledger
from epsball.attacks.engine.query import STOPS, Query, SearchEnded, Stop
from epsball.attacks.engine.record import Nearest, Record
from epsball.attacks.parts.attack import Attack, Lesson
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


Keep = Callable[[slice, Callable[[], AttackResult]], AttackResult | None]
"""``keep(rows, chunk)`` returns what ``chunk()`` finds on some rows, or what was kept of it; None: not to be run."""


def _compute(rows: slice, chunk: Callable[[], AttackResult]) -> AttackResult:
    return chunk()


def search(
    classifier: Classifier, examples: Examples, ball: Ball, options: Options, keep: Keep = _compute
) -> AttackResult:
    """Return what a method finds on checked examples, verified and accounted for.

    An interruption ends it: the result is then marked `interrupted`, and has nothing on the chunks that follow.
    """
    options.method.check_norm(ball)
    evaluator, judge = Evaluator(classifier, options.precision), Judge(classifier)
    keys = Keys.of_examples(examples.x, examples.y.long(), options.seed).derive(options.method.name)
    options, lesson = _prepared(evaluator, examples, ball, options, keys)
    work = _Work(ball=ball, options=options, evaluator=evaluator, judge=judge, examples=examples, keys=keys)
    starts = chunk_starts(classifier, len(examples.x), options)
    chunks = [work.kept(slice(start, start + starts.step), keep) for start in starts]
    found = _joined(chunks, interrupted=work.interrupted or any(chunk.interrupted for chunk in chunks))
    return found if lesson is None else replace(found, ledger=Ledger.concatenate([lesson, found.ledger]))


def chunk_starts(classifier: Classifier, n: int, options: Options) -> range:
    """Return the first row of each chunk that a search of `n` examples is made in; the step is a chunk's length."""
    return range(0, n, options.batch_size or CHUNK.get(classifier.device.type, CHUNK["cpu"]))


def _prepared(
    evaluator: Evaluator, examples: Examples, ball: Ball, options: Options, keys: Keys
) -> tuple[Options, Ledger | None]:
    """Return the options with the attack that searches, and the passes that its lesson took, if it took one."""
    passes = evaluator.classifier.passes
    before = passes.forward, passes.backward
    lesson = Lesson(evaluator=evaluator, x=examples.x, y=examples.y, keys=keys, ball=ball, classes=examples.classes)
    method = options.method.prepared(lesson)
    if method is options.method:
        return options, None
    spent = passes.forward - before[0], passes.backward - before[1]
    return replace(options, method=method), Ledger.overhead(options.method.name, *spent)


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

    def kept(self, rows: slice, keep: Keep) -> AttackResult:
        """Return what is found on one chunk, or was kept; after an interruption, what is known without a search."""
        found = None
        try:
            if not self.interrupted:
                found = keep(rows, lambda: self._chunk(rows))
        except KeyboardInterrupt:
            self.interrupted = True
        return self._unsearched(rows) if found is None else found

    def _report(self, done: int) -> None:
        progress.report(self.options.method.name, done, len(self.examples.x))

    def _chunk(self, rows: slice) -> AttackResult:
        """Return what is found on one chunk; after an interruption, what was found until then."""
        self._report(rows.start)  # Only of what is computed: chunks kept from before count for no rate.
        before = self._padding()
        record, natural = self._open(rows)
        searched = self._search(record, rows)
        verified = self._completed(lambda: self._settle(record))
        forwards, backwards = (now - then for now, then in zip(self._padding(), before, strict=True))
        padding = Ledger.overhead("padding", forwards, backwards)
        ledger = Ledger.concatenate([padding, natural, searched, verified])
        self._report(min(rows.stop, len(self.examples.x)))
        return self._result(record, ledger, interrupted=self.interrupted)

    def _unsearched(self, rows: slice) -> AttackResult:
        """Return what is known of a chunk that was not reached: the natural margins, if they were known before."""
        x, y, index = self._rows(rows)
        natural = self.examples.natural
        margin = torch.full((len(x),), torch.nan, dtype=torch.float64) if natural is None else natural[rows]
        record = Record(self.ball, x, y, index, margin.to(x.device))
        if natural is None:
            record.reasons.clear()
        return self._result(record, Ledger.empty(), interrupted=True)

    def _padding(self) -> tuple[int, int]:
        """Return the passes spent on padded rows so far, forward and backward."""
        return self.evaluator.padding[0] + self.judge.padding, self.evaluator.padding[1]

    def _result(self, record: Record, ledger: Ledger, *, interrupted: bool) -> AttackResult:
        if not bool(record.ball.contains(record.point, record.x).all()):
            raise EpsballError("a stored point lies outside its ball: a bug in epsball. Please report it.")
        device, standing = self.examples.x.device, set(record.index[~record.broken].tolist())
        tensors = {
            "x_adv": record.point,
            "broken": record.broken,
            "margin": torch.where(record.failed & ~record.broken, torch.nan, record.margin),
            "natural": record.natural,
            "nearest": record.nearest,
            "distance": record.distance,
        }
        columns: dict[str, Any] = {name: tensor.to(device) for name, tensor in tensors.items()}
        return AttackResult(
            **columns,
            by=record.by,
            ledger=ledger,
            invalid={position: reason for position, reason in record.reasons.items() if position in standing},
            interrupted=interrupted,
            notes=tuple(dict.fromkeys(record.notes)),
        )

    def _completed(self, part: Callable[[], T]) -> T:
        """Run a short part to its end; if it is interrupted, note that and run it again."""
        try:
            return part()
        except KeyboardInterrupt:
            self.interrupted = True
            return part()

    def _open(self, rows: slice) -> tuple[Record, Ledger]:
        """Return a chunk's record, which begins with the natural margins, and their ledger rows."""
        x, y, index = self._rows(rows)
        box = self.options.method.domain == "box"
        if self.examples.natural is not None:
            natural = self.examples.natural[rows].to(x.device)
            return Record(self.ball, x, y, index, natural, box=box), Ledger.empty()
        natural = self.judge.margins(x, y)
        cost = torch.full_like(index, self.judge.cost)
        return Record(self.ball, x, y, index, natural, box=box), Ledger.judged(index, "natural", natural, cost)

    def _rows(self, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Return examples, labels and positions of a chunk as the model takes them."""
        x = self.judge.classifier.to_model(self.examples.x[rows].detach())
        return x, self.examples.y[rows].to(x.device, torch.int64), self.examples.index[rows].to(x.device)

    def _search(self, record: Record, rows: slice) -> Ledger:
        options, examples = self.options, self.examples
        query = Query(
            self.evaluator,
            self.judge,
            record,
            attack=options.method.name,
            stop=options.stop,
            budget=options.budget,
            total=examples.total,
            classes=examples.classes,
            on_leave=lambda left: self._report(rows.start + left),
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


def _joined(chunks: Sequence[AttackResult], *, interrupted: bool) -> AttackResult:
    """Return the results of consecutive chunks as one; their padded rows are counted together."""
    names = ("x_adv", "broken", "margin", "natural", "nearest", "distance")
    ledger = Ledger.concatenate([chunk.ledger for chunk in chunks])
    padding = ledger.of("padding")
    forwards, backwards = (int(passes[padding].sum()) for passes in (ledger.forwards, ledger.backwards))
    columns: dict[str, Any] = {name: torch.cat([getattr(chunk, name) for chunk in chunks]) for name in names}
    return AttackResult(
        **columns,
        by=[name for chunk in chunks for name in chunk.by],
        ledger=Ledger.concatenate([Ledger.overhead("padding", forwards, backwards), ledger.only(~padding)]),
        invalid={position: reason for chunk in chunks for position, reason in chunk.invalid.items()},
        interrupted=interrupted,
        notes=tuple(dict.fromkeys(note for chunk in chunks for note in chunk.notes)),
    )
