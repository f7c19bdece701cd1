"""`cka`: the similarity of every layer of one network to every layer of another."""

import math
from bisect import bisect_right
from contextlib import ExitStack
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from operator import add
from typing import Any

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from epsball.errors import InputError
from epsball.progress import report
from epsball.similarity.gram import COLUMNS, group_bounds
from epsball.similarity.hsic import LEAST_ROWS, Estimator, KernelStack, Moments, moments
from epsball.similarity.jackknife import jackknife_error, without_each
from epsball.similarity.kernels import Kernel, KernelLike, Linear, kernel_named
from epsball.similarity.layers import Choice, choose
from epsball.similarity.network import network
from epsball.similarity.observer import Observer
from epsball.similarity.probe import find_layers
from epsball.similarity.result import Similarity
from epsball.similarity.rows import Rows, shuffled
from epsball.similarity.sensitivity import marked_count, shifted_cka

GROUPS = 10
"""Groups of rows in a batch: blocks of the Gram matrix, and the jackknife's when there is one batch."""
LEAST_BATCHES = 8
"""Batches where one does not suffice: fewer leave Student's t too wide."""
MOST_PARTS = 32
"""Parts the batches are summed in for the jackknife: more would cost memory and sharpen nothing."""
MAX_MEMORY = 48 * 2**20


def cka(
    model_a: Any,
    model_b: Any,
    data: Any,
    data_b: Any = None,
    *,
    layers: Choice = "all",
    layers_b: Choice | None = None,
    kernel: KernelLike = "linear",
    estimator: Estimator = "debiased",
    batch_size: int | None = None,
    max_memory: int = MAX_MEMORY,
) -> Similarity:
    """Return the centred kernel alignment of the layers of two networks, with its standard error.

    CKA(K, L) = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) for the kernels K and L of two layers on
    the same rows. All rows form one batch, and the value is exact, if the kernels of all layers
    fit `max_memory`; otherwise HSIC is averaged over batches, weighted by their rows (unbiased
    for the debiased estimator). Each row passes once through each network.

    Parameters
    ----------
    model_a, model_b
        `torch.nn.Module`, or a callable that holds one as `.module` (a `Classifier`). They run in
        evaluation mode and are left as they were.
    data
        Inputs: a tensor (n, *shape), a pair (x, y), a text, a DataLoader, or an object with a
        length that slices to (x, y); n >= 4. Labels are not used.
    data_b
        Inputs of `model_b` if they are others, row by row (adversarial examples of `data`).
    layers, layers_b
        ``"all"``, ``"stages"``, or patterns of names (`epsball.similarity.layer_names`); those of
        `model_b` are chosen by `layers_b` where it is given.
    kernel
        ``"linear"``, ``"rbf"``, or a kernel such as ``RBF(bandwidth=0.5)``.
    estimator
        ``"debiased"`` (HSIC_1; about 0 for independent features) or ``"plain"`` (HSIC_0, the
        chapter's, which for p >> n is near 1 whatever the features are).
    batch_size
        Most rows in a batch, for networks whose activations need much memory.
    max_memory
        Bytes for the kernels of a batch, all layers of both networks together.

    Raises
    ------
    InputError
        If the data have different lengths or fewer than 4 rows, a pattern names no layer, or an
        option is out of range.
    ModelError
        If a layer does not run, or its activations are not finite.

    References
    ----------
    Kornblith, Norouzi, Lee and Hinton, "Similarity of neural network representations revisited",
    ICML 2019. Nguyen, Raghu and Kornblith, ICLR 2021 (debiased, over minibatches).
    """
    if estimator not in ("debiased", "plain"):
        raise InputError(f"estimator is '{estimator}'; choose 'debiased' or 'plain'.")
    rows_a = Rows(data, "data")
    rows_b = rows_a if data_b is None or data_b is data else Rows(data_b, "data_b")
    _check_rows(rows_a, rows_b)
    method = kernel_named(kernel)
    with ExitStack() as used:
        side_a = _prepare(used, model_a, rows_a, layers, method, estimator, "model_a")
        if model_a is model_b and rows_b is rows_a and layers_b in (None, layers):
            side_b = side_a
        else:
            side_b = _prepare(
                used, model_b, rows_b, layers if layers_b is None else layers_b, method, estimator, "model_b"
            )
        width = len(side_a.observer.layers) + len(side_b.observer.layers) * (side_b is not side_a)
        count = _batch_count(len(rows_a), width, batch_size, max_memory)
        measured = _measure(side_a, side_b, count)
    return _result(side_a, side_b, measured, method, estimator)


def layer_names(model: Any, data: Any, layers: Choice = "all") -> list[str]:
    """Return the names of a network's layers in execution order, as `cka` would choose them.

    Parameters
    ----------
    model, data, layers
        As for `cka`; four rows are passed through the network.

    Raises
    ------
    InputError, ModelError
        As for `cka`.
    """
    rows = Rows(data, "data")
    _check_rows(rows, rows)
    with ExitStack() as used:
        side = _prepare(used, model, rows, layers, Linear(), "debiased", "model")
    return [layer.name for layer in side.observer.layers]


@dataclass(frozen=True)
class _Side:
    """One network on its rows: its observer, its name in messages, and remarks on its outputs."""

    observer: Observer
    rows: Rows
    name: str
    remarks: list[str]

    def kernels(self, positions: Int64[Tensor, " m"], bounds: list[int]) -> KernelStack:
        """Return the kernels of all layers on the rows at these positions."""
        return self.observer(self.observer.network.adopt(self.rows.take(positions)), bounds)


@dataclass(frozen=True)
class _Measured:
    """HSIC of the batches times their rows, CKA without each group of rows, each layer's mean squared size."""

    total: Moments
    replicates: Float64[Tensor, "g a b"]
    energy: Float64[Tensor, " a"]
    rows: int
    batches: int
    marked: int


def _prepare(
    used: ExitStack, model: Any, rows: Rows, choice: Choice, kernel: Kernel, estimator: Estimator, name: str
) -> _Side:
    """Put a network in use, find its layers and choose among them."""
    found = network(model)
    used.enter_context(found.in_use())
    layers, remarks = find_layers(found, found.adopt(rows.take(shuffled(len(rows))[:LEAST_ROWS])))
    modules = [module for module, _ in found.root.named_modules()]
    return _Side(Observer(found, choose(layers, choice, modules, name), kernel, estimator), rows, name, remarks)


def _measure(side_a: _Side, side_b: _Side, count: int) -> _Measured:
    """Pass all batches through both networks."""
    rows = len(side_a.rows)
    parts: dict[int, Moments] = {}
    done = marked = 0
    energy = torch.zeros(len(side_a.observer.layers) + 1, dtype=torch.float64)
    for number, positions in enumerate(torch.tensor_split(shuffled(rows), count)):
        bounds = group_bounds(len(positions), GROUPS)
        a = side_a.kernels(positions, bounds)
        b = a if side_b is side_a else side_b.kernels(positions, bounds)
        found = moments(a, b, leave_out=count == 1 and _can_leave_out(bounds)) * float(len(positions))
        part = number % MOST_PARTS
        parts[part] = parts[part] + found if part in parts else found
        energy += a.energy.cpu() * len(positions) / rows
        marked += marked_count(len(positions))
        done += len(positions)
        report("similarity", done, rows)
    total = reduce(add, parts.values())
    replicates = total.cka()[1:] if count == 1 else without_each(list(parts.values()))
    return _Measured(total, replicates, energy, rows, count, marked)


def _can_leave_out(bounds: list[int]) -> bool:
    largest = max(stop - start for start, stop in pairwise(bounds))
    return bounds[-1] - largest >= LEAST_ROWS


def _result(side_a: _Side, side_b: _Side, measured: _Measured, kernel: Kernel, estimator: Estimator) -> Similarity:
    total = measured.total
    notes = [f"{side_a.name}: {remark}" for remark in side_a.remarks]
    notes += [] if side_b is side_a else [f"{side_b.name}: {remark}" for remark in side_b.remarks]
    return Similarity(
        matrix=total.cka()[0, :-1, :-1],
        error=jackknife_error(measured.replicates[:, :-1, :-1]),
        layers_a=tuple(layer.name for layer in side_a.observer.layers),
        layers_b=tuple(layer.name for layer in side_b.observer.layers),
        replicates=measured.replicates[:, :-1, :-1],
        shifted=shifted_cka(total, measured.energy) if isinstance(kernel, Linear) else None,
        shifted_share=measured.marked / measured.rows,
        rows=measured.rows,
        batches=measured.batches,
        kernel=str(kernel),
        estimator=estimator,
        undefined_a=_undefined(side_a.observer, total.self_a[0]),
        undefined_b=_undefined(side_b.observer, total.self_b[0]),
        notes=tuple(notes),
    )


def _undefined(observer: Observer, own: Float64[Tensor, " layers"]) -> tuple[str, ...]:
    return tuple(layer.name for layer, value in zip(observer.layers, own.tolist(), strict=False) if value == 0.0)


def _check_rows(rows_a: Rows, rows_b: Rows) -> None:
    if rows_a is not rows_b and not (rows_a.ordered and rows_b.ordered):
        raise InputError(
            "data and data_b cannot be paired row by row: one is a DataLoader with an order of its own. "
            "Give loaders with shuffle=False, or tensors."
        )
    if len(rows_a) != len(rows_b):
        raise InputError(
            f"data has {len(rows_a)} rows and data_b {len(rows_b)}; CKA compares the same rows in the same "
            "order, so both need one length."
        )
    if len(rows_a) < LEAST_ROWS:
        raise InputError(f"the data have {len(rows_a)} rows; CKA needs at least {LEAST_ROWS} (hundreds to be useful).")


def _batch_count(rows: int, layers: int, batch_size: int | None, max_memory: int) -> int:
    """Return the number of batches, one if the kernels of all rows fit.

    Raises
    ------
    InputError
        If the batches asked for, or the smallest possible, do not fit.
    """
    fitting = bisect_right(range(rows + 1), max_memory, key=lambda r: _kernel_bytes(r, layers)) - 1
    wanted = fitting if batch_size is None else batch_size
    if batch_size is not None and batch_size < LEAST_ROWS:
        raise InputError(f"batch_size is {batch_size}; the estimators need at least {LEAST_ROWS} rows in a batch.")
    if max(wanted, LEAST_ROWS) > fitting and fitting < rows:
        needed = math.ceil(_kernel_bytes(min(rows, max(wanted, LEAST_ROWS)), layers) / 2**20)
        raise InputError(
            f"max_memory is {max_memory / 2**20:.0f} MiB and the kernels of {layers} layers on a batch need "
            f"{needed} MiB; give max_memory={needed} * 2**20, a smaller batch_size, or fewer layers."
        )
    if wanted >= rows:
        return 1
    count = math.ceil(rows / wanted)
    return min(rows // LEAST_ROWS, count if batch_size is not None else max(LEAST_BATCHES, count))


def _kernel_bytes(rows: int, layers: int) -> int:
    """Return the bytes held for a batch: upper block triangles and sums in float64, and one layer's work."""
    values = rows**2 * (GROUPS + 1) // (2 * GROUPS) + GROUPS * rows
    return 8 * (layers + 3) * values + 8 * COLUMNS * rows
