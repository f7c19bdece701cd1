"""Checks of a run with its model and its data: what is deployed, judged again."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from epsball import progress
from epsball.attacks.engine.judge import Judge
from epsball.auditing.fingerprint import probe
from epsball.auditing.subject import Subject
from epsball.auditing.verifying.record import UNREADABLE, Record
from epsball.auditing.verifying.result import Finding
from epsball.auditing.verifying.sentences import rows_that, several
from epsball.classifier import Classifier
from epsball.classifier.margins import margins
from epsball.classifier.probe import TOLERANCE, same_probe
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


def same_build(record: Record, about: Subject) -> bool:
    """Return whether margins must be those of the run bit for bit: what computes them computes the same first ones.

    The run's record holds the torch version and the canonical margins of its first examples. Where both are the same
    to the last bit, so is the build; elsewhere (another processor, thread count or version) margins agree up to
    `epsball.classifier.probe.TOLERANCE`, relative to the largest. Where a model draws random numbers none are compared.
    """
    if about.classifier.stochastic or record.run.get("about", {}).get("torch") != str(torch.__version__):
        return False
    return probe(about) == list(record.run.get("probe", []))


def natural(record: Record, classifier: Classifier, dataset: Dataset, *, exact: bool) -> Iterator[Finding]:
    """Judge every example again: its prediction, whether it is right, and its margin."""
    index, label = record.column("index"), record.column("label")
    if not np.array_equal(index, dataset.positions.numpy()) or not np.array_equal(label, dataset.labels.numpy()):
        yield Finding(
            check="natural pass", holds=False, detail="the examples, their order or labels are not the data's"
        )
        return
    predicted, margin = [], []
    # Shard by shard, as the audit did: a model that draws random numbers draws anew for each.
    step = int(record.identity.get("shard", _ROWS))
    for start in range(0, len(dataset), step):
        progress.report("examples judged", start, len(dataset))
        x, y = dataset[start : start + step]
        logits = _judged(record, classifier, as_pixels(x))
        predicted.append(logits.argmax(1))
        margin.append(margins(classifier.effective_logits(logits, y), y))
    found = torch.cat(margin).numpy()
    other = torch.cat(predicted).numpy() != record.column("prediction")
    wrong = rows_that("another prediction", other & ~record.flag("natural.failed"), index)
    wrong += rows_that("right and wrong differ", (found > 0) != record.flag("natural.correct"), index)
    if not classifier.stochastic:
        stated = record.column("natural.margin")
        wrong += rows_that("another natural margin", _differ(stated, found, found, exact=exact), index)
    yield Finding(check="natural pass", holds=not wrong, detail=several(wrong) or f"{len(index)} examples judged again")


def _differ(stated: np.ndarray, found: np.ndarray, among: np.ndarray, *, exact: bool) -> np.ndarray:
    """Return which margins are others: by a bit, or by more than rounding explains at the size that they have."""
    same = (stated == found) | (np.isnan(stated) & np.isnan(found))
    if exact:
        return ~same
    size = 1 + np.abs(among[np.isfinite(among)]).max(initial=0.0)
    with np.errstate(invalid="ignore"):
        return ~(same | (np.abs(stated - found) <= TOLERANCE * size))


def witnesses(
    record: Record,
    classifier: Classifier,
    dataset: Dataset,
    other: Callable[[Tensor], Tensor] | None,
    *,
    exact: bool,
) -> Iterator[Finding]:
    """Judge every witness again, by the model and, if there is one, by another runtime of it."""
    wrong: list[str] = []
    judged = 0
    stated = None if classifier.stochastic else record.witness_margins
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
                found = _judged(record, classifier, part.x_adv[block])
                index = part.index[block].numpy()
                margin = margins(classifier.effective_logits(found, y[block]), y[block]).numpy()
                wrong += rows_that("the witness is classified rightly", ~(margin <= 0), index)
                if stated is not None:
                    among = record.column("natural.margin")
                    unlike = _differ(stated[rows[block].numpy()], margin, among, exact=exact)
                    wrong += rows_that("the margin at the witness is another one", unlike, index)
                if other is not None:
                    margin = margins(classifier.effective_logits(other(part.x_adv[block]), y[block]), y[block]).numpy()
                    wrong += rows_that("by onnxruntime the witness is classified rightly", ~(margin <= 0), index)
                judged += len(rows[block])
                progress.report("witnesses judged", judged, int(record.broken.sum()))
    except UNREADABLE as error:
        wrong.append(f"witnesses cannot be read: {error}")
    by = " by the model and onnxruntime" if other is not None else ""
    yield Finding(check="witnesses", holds=not wrong, detail=several(wrong) or f"{judged} witnesses judged again{by}")


def _judged(record: Record, classifier: Classifier, x: Tensor) -> Tensor:
    """Return the canonical logits of some points on the CPU."""
    seed = int(record.identity["seed"]) if classifier.stochastic else None
    with preserved(seed), classifier.in_use():
        return Judge(classifier).logits(classifier.to_model(x)).cpu()


def _examples(dataset: Dataset, rows: Tensor) -> tuple[Tensor, Tensor]:
    x, y = dataset.take(rows)
    return as_pixels(x).cpu(), y.cpu()
