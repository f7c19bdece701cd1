"""What each effort costs on a model, from a few timed passes."""

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from epsball.attacks import Ensemble
from epsball.attacks.search import CHUNK
from epsball.auditing.checking.result import EffortCost
from epsball.auditing.effort import EFFORTS
from epsball.classifier import Classifier
from epsball.classifier.margins import margins
from epsball.data import Dataset, as_pixels
from epsball.errors import NoGradientError
from epsball.generator_state import preserved

_FEW, _SECONDS = 16, 1.0
"""Rows of the first timing, and seconds above which a timing is not repeated on more rows."""

_SAMPLES = 20
"""Forward passes of a verdict of a model that draws random numbers, by default, and gradients of one step."""


def milliseconds(classifier: Classifier, dataset: Dataset) -> tuple[float, float]:
    """Return the milliseconds of a forward and of a backward pass of one example, searched among others."""
    x, _ = dataset[: CHUNK.get(classifier.device.type, CHUNK["cpu"])]
    with preserved(0 if classifier.stochastic else None), classifier.in_use():
        points = classifier.to_model(as_pixels(x))
        rows = points[torch.arange(_FEW, device=points.device) % len(points)]
        forward, both = _timed(classifier, rows)
        full = points[torch.arange(CHUNK.get(points.device.type, CHUNK["cpu"]), device=points.device) % len(points)]
        if both * len(full) / _FEW < _SECONDS:
            rows = full
            forward, both = _timed(classifier, rows)
    return 1e3 * forward / len(rows), 1e3 * max(both - forward, 0.0) / len(rows)


def _timed(classifier: Classifier, rows: Tensor) -> tuple[float, float]:
    """Return the seconds of a forward pass of some rows, and of a forward and a backward one: the faster of two."""

    def forward() -> None:
        with torch.no_grad():
            classifier.forward(rows).cpu()

    def both() -> None:
        leaf = rows.clone().requires_grad_()
        with torch.enable_grad():
            logits = classifier.forward(leaf)
            try:
                classifier.gradient(margins(logits, logits.argmax(1)), leaf).cpu()
            except NoGradientError:
                return

    return min(_seconds(forward), _seconds(forward)), min(_seconds(both), _seconds(both))


def _seconds(call: Callable[[], None]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


Cascade = Callable[[int | None], tuple[int, float, bool]]
"""Passes and seconds per example of the certificates within so many passes, and whether they were measured."""


def effort_costs(
    cascade: Cascade, per_pass: tuple[float, float], *, classes: int, right: float, stochastic: bool
) -> Iterator[EffortCost]:
    """Yield what each effort costs.

    Parameters
    ----------
    cascade
        What certificates cost.
    per_pass
        Milliseconds of a forward and of a backward pass.
    classes
        Number of classes.
    right
        Examples that are right: the others are not searched.
    stochastic
        Whether each evaluation is repeated.
    """
    mean = 1e-3 * sum(per_pass) / 2 * (_SAMPLES if stochastic else 1)
    for name, effort in EFFORTS.items():
        attack = effort.attack
        if not isinstance(attack, Ensemble):
            continue
        ends = attack.passes_standing(classes)
        passes, seconds, measured = cascade(effort.certificate_passes)
        low, high = (right * (count * mean + seconds) for count in ends)
        yield EffortCost(name=name, attack=ends, certificate=passes, seconds=(low, high), measured=measured)
