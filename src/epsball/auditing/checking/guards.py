"""Every guard on a model and its data with its finding, also where one before it fails."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from epsball.auditing.checking.result import Guard
from epsball.classifier import Classifier, guards
from epsball.classifier.margins import margins
from epsball.data import Dataset, as_pixels
from epsball.errors import EpsballError, NoGradientError
from epsball.generator_state import preserved

_UNSEEN = "not looked at"


def guard_findings(classifier: Classifier, dataset: Dataset, first: int) -> Iterator[Guard]:
    """Yield what each guard finds.

    Parameters
    ----------
    classifier, dataset
        The model and its data.
    first
        Examples whose inputs are looked at.
    """
    x, _ = dataset[:first]
    x = as_pixels(x)
    inputs = _guarded("inputs", lambda: _inputs(classifier, x))
    yield inputs
    yield _guarded("labels", lambda: _labels(dataset))
    if inputs.state == "fails":
        yield Guard(name="outputs", state=_UNSEEN, finding="the inputs are not those of a classifier")
        return
    with preserved(0 if classifier.stochastic else None), classifier.in_use():
        yield from _of_model(classifier, classifier.to_model(x[: guards.PROBED]), dataset.labels)
        yield from _state(classifier)


def _guarded(name: str, look: Callable[[], str]) -> Guard:
    """Return what a guard finds; an error is a finding."""
    try:
        return Guard(name=name, state="holds", finding=look())
    except EpsballError as error:
        return Guard(name=name, state="fails", finding=str(error), exit_code=error.exit_code)


def _inputs(classifier: Classifier, x: Tensor) -> str:
    guards.check_inputs(x, classifier.low, classifier.high)
    box = "no box" if classifier.low is None else f"in [{classifier.low:g}, {classifier.high:g}]"
    return f"the first {len(x)} are finite, {float(x.min()):.4g} to {float(x.max()):.4g}, {box}"


def _labels(dataset: Dataset) -> str:
    guards.check_labels(dataset.labels, len(dataset))
    counts = torch.bincount(dataset.labels)
    seen = counts[counts > 0]
    if len(seen) == 1:
        return f"all {len(dataset)} are {int(dataset.labels[0])}: one class only, so there is no optimal risk"
    return f"{len(seen)} classes among {len(dataset)} examples, {int(seen.min())} to {int(seen.max())} of each"


def _of_model(classifier: Classifier, x: Tensor, labels: Tensor) -> Iterator[Guard]:
    """Yield what the guards on the model's outputs find at a few inputs on its device."""
    probe = x[torch.arange(guards.PROBED, device=x.device) % len(x)]
    seen: list[Tensor] = []

    def shape() -> str:
        with torch.no_grad():
            logits = classifier.forward(probe)
        guards.check_shape(logits, len(probe))
        seen.append(logits.clone())
        columns = logits.shape[1] - classifier.rejects
        guards.check_label_range(labels, columns)
        return f"{columns} logits, {str(logits.dtype).removeprefix('torch.')}"

    outputs = _guarded("outputs", shape)
    yield outputs
    if not seen:
        for name in ("logits", "deterministic", "batch", "gradient"):
            yield Guard(name=name, state=_UNSEEN, finding="the outputs are not those of a classifier")
        return
    with torch.no_grad():
        yield _guarded("logits", lambda: _values(classifier, x, seen[0]))
        yield from _repeated(classifier, probe, seen[0])
    yield _gradient(classifier, probe)


def _values(classifier: Classifier, x: Tensor, logits: Tensor) -> str:
    vouched = guards.OUTPUTS in classifier.overruled
    guards.check_values(classifier.forward, x, logits, classifier.low, classifier.high, outputs=not vouched)
    finite = logits[guards.usable(logits)]
    if not len(finite):
        return f"none of {len(logits)} rows is finite; others are"
    said = ", which you vouch for" if vouched else ", no probabilities"
    more = "" if len(finite) == len(logits) else f"; {len(logits) - len(finite)} of {len(logits)} rows are not finite"
    return f"{float(finite.min()):.4g} to {float(finite.max()):.4g}{said}{more}"


def _repeated(classifier: Classifier, probe: Tensor, logits: Tensor) -> Iterator[Guard]:
    """Yield whether the model repeats itself, alone and in other company."""
    checks = (
        ("deterministic", guards.DETERMINISTIC, guards.check_repeats, "two identical calls differ by"),
        ("batch", guards.BATCH, guards.check_batch_independence, "with the rest of the batch logits change by"),
    )
    for name, words, look, said in checks:
        if classifier.stochastic:
            yield Guard(name=name, state=_UNSEEN, finding="the model is said to draw random numbers")
        elif words in classifier.overruled:
            yield Guard(name=name, state=_UNSEEN, finding=f"overruled: {words}")
        else:
            yield _guarded(
                name,
                lambda look=look, said=said: f"{said} {look(classifier.forward, probe, logits):.2g} of their size",
            )


def _gradient(classifier: Classifier, probe: Tensor) -> Guard:
    """Return whether the margin has a gradient at the examples: where it has none, attacks need surrogates."""
    try:
        with torch.enable_grad():
            leaf = probe.clone().requires_grad_()
            logits = classifier.forward(leaf)
            predicted = logits.argmax(1)
            gradient = classifier.gradient(margins(logits.double(), predicted), leaf).flatten(1)
    except NoGradientError as error:
        return Guard(name="gradient", state="note", finding=f"{error} The attack 'adaptive' finds one by itself.")
    except EpsballError as error:
        return Guard(name="gradient", state="note", finding=str(error))
    zero, bad = int((gradient == 0).all(1).sum()), int((~gradient.isfinite()).any(1).sum())
    if zero or bad:
        said = f"exactly zero at {zero} and not finite at {bad} of {len(gradient)} examples: accuracy under attack may"
        return Guard(name="gradient", state="note", finding=f"{said} be masked (epsball diagnose)")
    return Guard(name="gradient", state="holds", finding=f"reaches the input at all {len(gradient)} examples probed")


def _state(classifier: Classifier) -> Iterator[Guard]:
    """Yield what passes change in the module, which is put back before each of them."""
    try:
        classifier.restore()
    except EpsballError as error:
        yield Guard(name="state", state="fails", finding=str(error), exit_code=error.exit_code)
        return
    if classifier.moves:
        names = ", ".join(classifier.moves[:3])
        yield Guard(name="state", state="note", finding=f"passes change {names}; put back before each of them")
