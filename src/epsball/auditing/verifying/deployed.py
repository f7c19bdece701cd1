"""Checks of a run with its model and its data: what is deployed, judged again."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from epsball import progress
from epsball.attacks.engine.judge import Judge
from epsball.auditing.fingerprint import probe
from epsball.auditing.subject import Subject
from epsball.auditing.verifying.contents import rows_that, several
from epsball.auditing.verifying.record import UNREADABLE, Record
from epsball.auditing.verifying.result import Finding
from epsball.classifier import Classifier
from epsball.classifier.margins import margins
from epsball.classifier.probe import same_probe
from epsball.data import Dataset, as_pixels
from epsball.generator_state import preserved

_ROWS = 512
"""Examples read and judged together."""


def subject(record: Record, classifier: Classifier, dataset: Dataset) -> Iterator[Finding]:
    """Check that model and data are those of the run."""
    network, data = classifier.fingerprint(), dataset.fingerprint()
    same, alike = network == record.identity["network"], data == record.identity["data"]
    detail = network if same else f"{network}, but the run is about {record.identity['network']}"
    if same and alike:
        about = Subject.of(classifier, dataset, record.ball, int(record.identity["seed"]))
        if not same_probe(list(record.run.get("probe", [])), probe(about)):
            same, detail = False, "the model's code: its first margins differ, though its weights are the same"
    yield Finding(check="model", holds=same, detail=detail)
    detail = data if alike else f"{data}, but the run is about {record.identity['data']}"
    yield Finding(check="data", holds=alike, detail=detail)


def natural(record: Record, classifier: Classifier, dataset: Dataset) -> Iterator[Finding]:
    """Judge every example again: its prediction, and whether it is right."""
    index, label = record.column("index"), record.column("label")
    if not np.array_equal(index, dataset.positions.numpy()) or not np.array_equal(label, dataset.labels.numpy()):
        yield Finding(
            check="natural pass", holds=False, detail="the examples, their order or labels are not the data's"
        )
        return
    predicted, right = [], []
    for start in range(0, len(dataset), _ROWS):
        progress.report("examples judged", start, len(dataset))
        x, y = dataset[start : start + _ROWS]
        logits = _judged(record, classifier, as_pixels(x))
        predicted.append(logits.argmax(1))
        right.append(margins(classifier.effective_logits(logits, y), y) > 0)
    other = torch.cat(predicted).numpy() != record.column("prediction")
    wrong = rows_that("another prediction", other & ~record.flag("natural.failed"), index)
    wrong += rows_that("right and wrong differ", torch.cat(right).numpy() != record.flag("natural.correct"), index)
    yield Finding(check="natural pass", holds=not wrong, detail=several(wrong) or f"{len(index)} examples judged again")


def witnesses(
    record: Record, classifier: Classifier, dataset: Dataset, other: Callable[[Tensor], Tensor] | None
) -> Iterator[Finding]:
    """Judge every witness again, by the model and, if there is one, by another runtime of it."""
    wrong: list[str] = []
    judged = 0
    try:
        for part in record.witnesses():
            rows = record.rows_of(part.index)
            if bool((rows < 0).any()):
                wrong.append("a witness is of no example")
                continue
            x, y = _examples(dataset, rows)
            if not torch.equal(x.to(part.x), part.x):
                wrong.append("the centre of a witness is not the example")
            for start in range(0, len(rows), _ROWS):
                block = slice(start, start + _ROWS)
                wrong += _standing(record, classifier, part.x_adv[block], y[block], part.index[block], other)
                judged += len(rows[block])
                progress.report("witnesses judged", judged, int(record.broken.sum()))
    except UNREADABLE as error:
        wrong.append(f"witnesses cannot be read: {error}")
    by = " by the model and onnxruntime" if other is not None else ""
    yield Finding(check="witnesses", holds=not wrong, detail=several(wrong) or f"{judged} witnesses judged again{by}")


def _standing(
    record: Record,
    classifier: Classifier,
    points: Tensor,
    y: Tensor,
    index: Tensor,
    other: Callable[[Tensor], Tensor] | None,
) -> list[str]:
    """Return which points are no witnesses."""
    logits = {"the witness": _judged(record, classifier, points)}
    if other is not None:
        logits["by onnxruntime the witness"] = other(points)
    wrong: list[str] = []
    for name, found in logits.items():
        margin = margins(classifier.effective_logits(found, y), y)
        wrong += rows_that(f"{name} is classified rightly", (~(margin <= 0)).numpy(), index.numpy())
    return wrong


def _judged(record: Record, classifier: Classifier, x: Tensor) -> Tensor:
    """Return the canonical logits of some points on the CPU."""
    seed = int(record.identity["seed"]) if classifier.stochastic else None
    with preserved(seed), classifier.in_use():
        return Judge(classifier).logits(classifier.to_model(x)).cpu()


def _examples(dataset: Dataset, rows: Tensor) -> tuple[Tensor, Tensor]:
    x, y = dataset.take(rows)
    return as_pixels(x).cpu(), y.cpu()
