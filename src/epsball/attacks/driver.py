"""`attack`: runs a method over examples, verifies what it finds, and keeps the ledger."""

from dataclasses import dataclass

import torch
from torch import Tensor

from epsball import progress
from epsball.attacks import registry
from epsball.attacks.evaluator import Evaluator
from epsball.attacks.judge import Judge
from epsball.attacks.ledger import Ledger
from epsball.attacks.query import Query, SearchEnded, Stop
from epsball.attacks.record import Record
from epsball.attacks.result import AttackResult
from epsball.ball import Ball
from epsball.classifier import Classifier
from epsball.errors import EpsballError, InputError, nearest
from epsball.generators import preserved
from epsball.randomness import Keys

CHUNK = {"cpu": 128, "cuda": 1024}
"""Examples searched together, by the type of the device."""


@dataclass(frozen=True, kw_only=True)
class _Call:
    """What all chunks of one call share."""

    ball: Ball
    method: registry.Attack
    evaluator: Evaluator
    judge: Judge
    stop: Stop
    budget: int | None
    total: int
    classes: int


def attack(
    classifier: Classifier,
    x: Tensor,
    y: Tensor,
    ball: Ball,
    *,
    method: str | registry.Attack = "pgd",
    seed: int = 0,
    stop: Stop = "first",
    precision: str = "float32",
    budget: int | None = None,
    batch_size: int | None = None,
) -> AttackResult:
    """Search N(x) of each example for a misclassified point.

    Whatever the method claims, a witness is one that lies in ball and box exactly and is
    misclassified by the canonical pass: the deployed module in one fixed batch shape, TF32
    and autocast off. What is drawn for an example depends on `seed` and on the example's own
    values and label, so batching, order and chunking change no draw.

    Parameters
    ----------
    classifier
        The model under test.
    x, y
        Examples (n, *shape) in the box, and their integer labels (n,).
    ball
        The perturbation set; its box lies within the classifier's.
    method
        An attack, or the name of a registered one.
    seed
        Seed of every draw.
    stop
        ``"first"``: an example leaves at its first confirmed witness (verdicts).
        ``"never"``: the method runs to its own end on all of them (margins, diagnosis).
    precision
        ``"float32"``: the search runs in the model's own dtype; ``"bf16"``: under bfloat16
        autocast. Verdicts never depend on it being exact: they come from the canonical pass.
    budget
        Most passes (forwards and backwards of the method) an example may cost; None: no limit.
    batch_size
        Examples searched together (default 128 on the CPU, 1024 on a GPU).

    Returns
    -------
    AttackResult
        Its tensors lie on the device of `x`, in the dtype of the model.

    Raises
    ------
    InputError
        If data, labels, ball or options break a rule.
    ModelError
        If the model does not behave as a classifier, or passes no gradient that is needed.
    """
    _check_options(stop, budget, batch_size)
    method = registry.resolve(method)
    check_box(ball, classifier)
    before = classifier.passes.copy()
    with preserved(seed if classifier.stochastic else None), classifier.in_use():
        classes = classifier.check(x, y)
        guards = (classifier.passes - before).forward
        call = _Call(
            ball=ball,
            method=method,
            evaluator=Evaluator(classifier, precision),
            judge=Judge(classifier),
            stop=stop,
            budget=budget,
            total=len(x),
            classes=classes,
        )
        keys = Keys.of_examples(x, y.long(), seed).derive(method.name)
        size = batch_size or CHUNK.get(classifier.device.type, CHUNK["cpu"])
        chunks, interrupted = _run(call, x, y, keys, size)
    padding = (call.evaluator.padding[0] + call.judge.padding, call.evaluator.padding[1])
    overhead = [Ledger.overhead("guards", guards), Ledger.overhead("padding", *padding)]
    return _collect(ball, x, chunks, overhead, interrupted)


def check_box(ball: Ball, classifier: Classifier) -> None:
    """Raise InputError unless the ball's box lies within the classifier's."""
    if ball.low is None or ball.high is None or classifier.low is None or classifier.high is None:
        return
    if ball.low < classifier.low or ball.high > classifier.high:
        raise InputError(
            f"the ball's box [{ball.low:g}, {ball.high:g}] leaves the classifier's "
            f"[{classifier.low:g}, {classifier.high:g}]; give both the same box."
        )


def _check_options(stop: str, budget: int | None, batch_size: int | None) -> None:
    if stop not in ("first", "never"):
        raise InputError(f"stop is '{stop}'; known: first, never.{nearest(stop, ('first', 'never'))}")
    if budget is not None and budget < 1:
        raise InputError(f"budget is {budget}; it is a number of passes an example, at least 1 (None: no limit).")
    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; it must be at least 1.")


def _run(call: _Call, x: Tensor, y: Tensor, keys: Keys, size: int) -> tuple[list[tuple[Record, Ledger]], bool]:
    """Search chunk by chunk; after an interruption the rest is only judged at the examples themselves."""
    chunks, interrupted = [], False
    for start in range(0, len(x), size):
        rows = slice(start, start + size)
        index = torch.arange(len(x), device=x.device)[rows]
        record, natural = _open(call, x[rows], y[rows], index)
        parts = [natural]
        if not interrupted:
            interrupted = _search(call, record, keys, parts)
        parts.append(_settle(call, record))
        chunks.append((record, Ledger.concatenate(parts)))
        progress.report(call.method.name, min(start + size, len(x)), len(x))
    return chunks, interrupted


def _open(call: _Call, x: Tensor, y: Tensor, index: Tensor) -> tuple[Record, Ledger]:
    """Return a chunk's record, begun with the natural margins, and their ledger rows."""
    classifier = call.judge.classifier
    x = classifier.adopt(x)
    y, index = y.to(x.device, torch.int64), index.to(x.device)
    natural = call.judge.margins(x, y)
    record = Record(x, y, index, natural, call.total, call.classes)
    return record, Ledger.judged(index, "natural", natural, torch.full_like(index, call.judge.cost))


def _search(call: _Call, record: Record, keys: Keys, parts: list[Ledger]) -> bool:
    """Run the method on one chunk, adding its ledger rows to `parts`; return whether it was interrupted."""
    query = Query(call.evaluator, call.judge, call.ball, record, call.stop, call.budget)
    interrupted = False
    try:
        call.method(query, call.ball, keys=Keys(keys.words.to(record.x.device)))
    except SearchEnded:
        pass
    except KeyboardInterrupt:
        interrupted = True
    parts.append(record.ledger(call.method.name))
    return interrupted


def _settle(call: _Call, record: Record) -> Ledger:
    """Judge the best points that have no verdict yet; return the ledger rows of all verification."""
    entries = record.unsettled(call.ball)
    if len(entries):
        canonical = call.judge.margins(record.best[entries], record.y[entries])
        record.settle(entries, canonical, call.judge.cost)
    rows = torch.nonzero(record.judged)[:, 0]
    return Ledger.judged(record.index[rows], "verification", record.margin[rows], record.judged[rows])


def _collect(
    ball: Ball, x: Tensor, chunks: list[tuple[Record, Ledger]], overhead: list[Ledger], interrupted: bool
) -> AttackResult:
    records = [record for record, _ in chunks]
    broken, margin, x_adv = (torch.cat([getattr(r, name) for r in records]) for name in ("broken", "margin", "best"))
    invalid = torch.cat([record.invalid for record in records])
    centres = torch.cat([record.x for record in records])
    if not bool(ball.contains(x_adv, centres).all()):
        raise EpsballError("a stored point lies outside its ball: a bug in epsball. Please report it.")
    broken = broken & ~invalid
    distance = torch.where(broken, ball.distance(x_adv, centres), torch.nan)
    return AttackResult(
        x_adv=x_adv.to(x.device),
        broken=broken.to(x.device),
        margin=torch.where(invalid, torch.nan, margin).to(x.device),
        distance=distance.to(x.device),
        ledger=Ledger.concatenate([*overhead, *(ledger for _, ledger in chunks)]),
        invalid={position: reason for record in records for position, reason in record.reasons.items()},
        interrupted=interrupted,
    )
