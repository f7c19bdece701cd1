"""Checks made once per call: that data lie in the box, and that a model behaves as a classifier.

Each error names the value seen, the rule and the fix. The thresholds separate measured cases: a
network in evaluation mode repeats itself exactly and changes by about 1e-6 with its batch; dropout
and batch statistics change logits by 0.1 and more.
"""

from collections.abc import Callable, Container

import torch
from torch import Tensor

from epsball.errors import BatchDependenceError, InputError, ModelError, RandomModelError

PROBED = 16
"""Rows on which a model is probed: from 16 on, a row's logits do not depend on the batch size."""

OUTPUTS, DETERMINISTIC, BATCH = "outputs=logits", "deterministic=True", "batch=independent"
"""What a caller may vouch for, in the words in which it is recorded: the guard that checks it is left out."""


def check_inputs(x: Tensor, low: float | None, high: float | None, first: int = 0) -> None:
    """Raise InputError unless `x` is a non-empty float batch in the box; messages count rows from `first`."""
    if torch.is_inference_mode_enabled():
        raise InputError("inference mode is on, which allows no gradients; leave torch.inference_mode().")
    if not isinstance(x, Tensor):
        raise InputError(f"x is a {type(x).__name__}; pass a torch tensor, torch.as_tensor(x).")
    x = x.detach()
    if x.layout != torch.strided or x.is_meta:
        raise InputError(
            f"x is {'on the meta device, without values' if x.is_meta else f'of layout {x.layout}'}; "
            "a classifier takes dense tensors of numbers: x.to_dense(), or the data themselves."
        )
    if x.dtype == torch.uint8:
        raise InputError(
            "x is uint8, 0..255; a classifier takes floats in its box. "
            "Use epsball.pixels.from_8bit(x), which rounds k/255 correctly."
        )
    if not x.is_floating_point():
        raise InputError(f"x is {x.dtype}; a classifier takes floats. Convert with x.float().")
    if x.ndim < 2 or len(x) == 0:
        raise InputError(f"x is {tuple(x.shape)}; expected (n, *shape), n >= 1. For one example: x[None].")
    finite = torch.isfinite(x).flatten(1).all(1)
    if not finite.all():
        bad = torch.nonzero(~finite)[:, 0]
        raise InputError(
            f"{len(bad)} of {len(x)} inputs hold NaN or infinity, first at index {first + int(bad[0])}; "
            "every pixel must be finite. Remove or mend them."
        )
    if low is None or high is None:
        return
    least, most = float(x.min()), float(x.max())
    if least < low or most > high:
        raise InputError(
            f"x has min {least:.6g}, max {most:.6g}; the box is [{low:g}, {high:g}]. {_hint(x, low, high)}"
        )


def _hint(x: Tensor, low: float, high: float) -> str:
    least, most = float(x.min()), float(x.max())
    slack = 1e-5 * (high - low)
    if least >= low - slack and most <= high + slack:
        return f"This looks like rounding: x.clamp({low:g}, {high:g})."
    if least >= 0 and 2 < most <= 255:
        return "This looks like 8-bit pixels: divide by 255."
    return "This looks normalised: pass raw pixels and give mean= and std= to the Classifier (radii stay in pixels)."


def check_labels(y: Tensor, n: int) -> None:
    """Raise InputError unless `y` is a vector of `n` non-negative integers."""
    if not isinstance(y, Tensor):
        raise InputError(f"y is a {type(y).__name__}; pass a torch tensor of integers, torch.as_tensor(y).")
    if y.ndim == 2 and y.shape[0] == n and y.shape[1] > 1:
        raise InputError(f"y is {tuple(y.shape)}: one-hot or scores? Labels are (n,) integers: y.argmax(1).")
    if y.shape != (n,):
        raise InputError(f"y is {tuple(y.shape)}; expected ({n},), one integer label for each example of x.")
    if y.dtype.is_floating_point or y.dtype.is_complex or y.dtype == torch.bool:
        raise InputError(f"y is {y.dtype}; labels are integers: y.long().")
    if int(y.min()) < 0:
        first = int(torch.nonzero(y < 0)[0, 0])
        raise InputError(f"label {int(y[first])} at index {first}; labels start at 0.")


def check_label_range(y: Tensor, classes: int) -> None:
    """Raise InputError if a label is not below the number of classes."""
    if int(y.max()) < classes:
        return
    first = int(torch.nonzero(y >= classes)[0, 0])
    start = " Labels that start at 1? Subtract 1." if int(y.min()) >= 1 and int(y.max()) == classes else ""
    raise InputError(
        f"label {int(y[first])} at index {first}, but the model has {classes} classes (0..{classes - 1}).{start}"
    )


def check_model(
    forward: Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    stochastic: bool,
    low: float | None,
    high: float | None,
    overruled: Container[str] = (),
) -> int:
    """Probe a model on the first rows of `x`; return its number of logits.

    The probe has `PROBED` rows; fewer given rows are repeated. Before outputs are refused for their
    values, the model is asked about more rows of `x` and about points drawn from the box.

    Parameters
    ----------
    forward, x
        The model and inputs.
    stochastic
        Whether it may draw random numbers; its answers are not compared then.
    low, high
        The box, or None.
    overruled
        What the caller vouches for, among `OUTPUTS`, `DETERMINISTIC` and `BATCH`.

    Raises
    ------
    ModelError
        If the output has the wrong type or shape, is not finite on every row, is made of
        probabilities, changes between identical calls, or depends on the rest of the batch.
    """
    probe = x[torch.arange(PROBED, device=x.device) % len(x)]
    logits = forward(probe)
    check_shape(logits, len(probe))
    logits = logits.clone()
    check_values(forward, x, logits, low, high, outputs=OUTPUTS not in overruled)
    if not stochastic and DETERMINISTIC not in overruled:
        check_repeats(forward, probe, logits)
    if not stochastic and BATCH not in overruled:
        check_batch_independence(forward, probe, logits)
    return logits.shape[1]


def check_values(
    forward: Callable[[Tensor], Tensor],
    x: Tensor,
    logits: Tensor,
    low: float | None,
    high: float | None,
    *,
    outputs: bool,
) -> None:
    """Raise ModelError if no row is finite, or all are probabilities, also at more points."""
    finite = logits[usable(logits)]
    if len(finite) and not (outputs and _are_probabilities(finite)):
        return
    more = torch.cat([forward(points).clone() for points in _more_points(x, low, high).split(PROBED)])
    finite = torch.cat([finite, more[usable(more)]])
    if not len(finite):
        raise ModelError(
            f"logits are NaN or infinite for all {len(logits) + len(more)} rows probed, though the inputs are finite. "
            "Check the weights and the normalisation (mean=, std=)."
        )
    if outputs and _are_probabilities(finite):
        raise ModelError(
            f"the model's outputs are non-negative and each row sums to 1, at all {len(finite)} points probed: "
            "probabilities, not logits. Gradients through a softmax vanish and hide adversarial examples. Return the "
            "logits before the softmax; if these are the logits, say so: Classifier(..., outputs='logits')."
        )


def _more_points(x: Tensor, low: float | None, high: float | None) -> Tensor:
    """Return the next rows of `x`, repeated if they are few, and as many points drawn from the box.

    Without a box: points around those rows, as far away as they are large.
    """
    rows = x[(PROBED + torch.arange(PROBED, device=x.device)) % len(x)]
    drawn = torch.rand(rows.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(rows)
    if low is None or high is None:
        return torch.cat([rows, rows + (2 * drawn - 1) * (1 + rows.abs().amax())])
    return torch.cat([rows, (low + (high - low) * drawn).clamp(low, high)])


def usable(logits: Tensor) -> Tensor:
    """Return which rows have a margin: no NaN, no +infinity, not only -infinity (which masks a class)."""
    return logits.amax(1).isfinite()


def check_shape(logits: Tensor, n: int) -> None:
    """Raise ModelError unless a model's output on `n` inputs is a floating tensor (n, classes)."""
    if not isinstance(logits, Tensor):
        raise ModelError(
            f"the model returned a {type(logits).__name__}; expected a tensor of logits (n, classes). "
            "Wrap it in a Module that returns that tensor (for example output.logits)."
        )
    if logits.ndim != 2 or len(logits) != n or logits.shape[1] < 2:
        raise ModelError(
            f"the model returned {tuple(logits.shape)} for {n} inputs; expected ({n}, classes), classes >= 2. "
            "Flatten spatial axes; give a single-score model two logits, (0, score)."
        )
    if not logits.is_floating_point():
        raise ModelError(f"the model returned {logits.dtype}; expected floating logits, not class indices.")


def _are_probabilities(logits: Tensor) -> bool:
    total = logits.double().sum(1)
    return bool((logits >= 0).all() and ((total - 1).abs() < 1e-3).all())


def difference(a: Tensor, b: Tensor) -> float:
    """Return the largest |a - b| over the rows usable in both, relative to 1 + max |a|."""
    rows = usable(a) & usable(b)
    if not rows.any():
        return 0.0
    a, b = (torch.nan_to_num(z[rows].double(), neginf=0.0) for z in (a, b))
    return float((a - b).abs().max() / (1 + a.abs().max()))


def check_repeats(forward: Callable[[Tensor], Tensor], probe: Tensor, logits: Tensor) -> float:
    """Return by how much the logits of a second, identical call differ, relative to their size.

    Raises
    ------
    RandomModelError
        If that is more than rounding explains.
    """
    change = difference(logits, forward(probe))
    if change > tolerance(logits):
        raise RandomModelError(
            f"two identical calls differ by {change:.2g} of the logits' size: the model is random even in "
            "evaluation mode, or keeps state outside its attributes (a global variable). Remove that, or pass "
            "stochastic=True to judge by repetitions, or deterministic=True if it is neither."
        )
    return change


def check_batch_independence(forward: Callable[[Tensor], Tensor], probe: Tensor, logits: Tensor) -> float:
    """Return by how much the logits of the first half change beside another second half, inverted and reversed.

    Raises
    ------
    BatchDependenceError
        If that is more than rounding explains.
    """
    half = len(probe) // 2
    centre = (probe.amax() + probe.amin()) / 2
    others = (2 * centre - probe[:half]).flip(0)
    change = difference(logits[:half], forward(torch.cat([probe[:half], others]))[:half])
    if change > min(100 * tolerance(logits), 0.1):
        raise BatchDependenceError(
            f"the logits of an example change by {change:.2g} of their size with the rest of its batch: batch "
            "statistics in use? Use running statistics (evaluation mode), or another normalisation layer; if rows are "
            "independent all the same, say so: Classifier(..., batch='independent')."
        )
    return change


def tolerance(logits: Tensor) -> float:
    """Return the relative change that nondeterministic kernels can explain: 100 roundings, at most 2%."""
    return min(100 * float(torch.finfo(logits.dtype).eps), 0.02)


def explain_failure(x: Tensor, error: Exception) -> str:
    """Return the text of a model's own exception on `x`, with what it most likely means."""
    shape = tuple(x.shape)
    last = x.ndim == 4 and x.shape[-1] in (1, 3, 4) and x.shape[1] not in (1, 3, 4)
    hint = "channels last? Use x.permute(0, 3, 1, 2)." if last else "Check the input's shape, dtype and normalisation."
    if isinstance(error, torch.OutOfMemoryError):
        hint = "Give a smaller batch_size."
    elif shape[0] > 1 and not last:
        hint += " If the model was exported for one batch size, export it with a dynamic one."
    return f"the model fails on an input of shape {shape}, {x.dtype}: {type(error).__name__}: {error} ({hint})"
