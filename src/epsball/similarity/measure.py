"""Passing the rows through the networks batch by batch, and adding up what every pair of them gives."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from operator import add

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from epsball.errors import InputError
from epsball.progress import report
from epsball.similarity.gram import COLUMNS, group_bounds
from epsball.similarity.hsic import LEAST_ROWS, Estimator, Moments, moments
from epsball.similarity.jackknife import jackknife_error, without_each
from epsball.similarity.kernels import Kernel, Linear
from epsball.similarity.result import Similarity
from epsball.similarity.row_shift import marked_count, shifted_cka
from epsball.similarity.rows import shuffled
from epsball.similarity.side import Side

GROUPS = 10
"""Groups of rows in a batch: blocks of the Gram matrix, and the jackknife's when there is one batch."""
LEAST_BATCHES = 8
"""Batches where one does not suffice: fewer leave Student's t too wide."""
MOST_PARTS = 32
"""Parts the batches are summed in for the jackknife: more would cost memory and sharpen nothing."""
MAX_MEMORY = 48 * 2**20


@dataclass(frozen=True)
class Batching:
    """How the rows are divided: their number, that of the batches, and how many rows are marked in all."""

    rows: int
    batches: int
    marked: int


class Running:
    """What two sides have given so far: sums of HSIC times rows, and the first side's mean squared row."""

    def __init__(self, first: Side, second: Side) -> None:
        self.first, self.second = first, second
        self.parts: dict[int, Moments] = {}
        self.energy: Float64[Tensor, " layers"] = torch.zeros(len(first.layers) + 1, dtype=torch.float64)

    def add(self, number: int, found: Moments, energy: Float64[Tensor, " layers"]) -> None:
        """Add what batch `number` gave, times its rows."""
        part = number % MOST_PARTS
        self.parts[part] = self.parts[part] + found if part in self.parts else found
        self.energy = self.energy + energy

    def similarity(self, batching: Batching, kernel: Kernel, estimator: Estimator) -> Similarity:
        """Return the result of all batches."""
        total = reduce(add, self.parts.values())
        one = batching.batches == 1
        replicates = (total.cka()[1:] if one else without_each(list(self.parts.values())))[:, :-1, :-1]
        energy = self.energy / batching.rows
        return Similarity(
            matrix=total.cka()[0, :-1, :-1],
            error=jackknife_error(replicates),
            layers_a=self.first.layers,
            layers_b=self.second.layers,
            replicates=replicates,
            shifted=shifted_cka(total, energy) if isinstance(kernel, Linear) else None,
            shifted_share=batching.marked / batching.rows,
            rows=batching.rows,
            batches=batching.batches,
            kernel=str(kernel),
            estimator=estimator,
            undefined_a=self.first.undefined(total.self_a[0]),
            undefined_b=self.second.undefined(total.self_b[0]),
            notes=tuple(
                f"{side.name}: {remark}" for side in distinct([self.first, self.second]) for remark in side.remarks
            ),
        )


def measure(
    pairs: Sequence[tuple[Side, Side]],
    kernel: Kernel,
    estimator: Estimator,
    *,
    batch_size: int | None,
    max_memory: int,
) -> list[Similarity]:
    """Return the similarity of every pair; each row passes once through each of the networks.

    For a kernel with a width, a sample of the rows passes once more, before.

    Raises
    ------
    InputError
        If the batches asked for, or the smallest possible, do not fit `max_memory`.
    ModelError
        If a layer does not run, or its activations are not finite.
    """
    sides = distinct([side for pair in pairs for side in pair])
    rows = len(sides[0].rows)
    count = batch_count(rows, sum(len(side.layers) for side in sides), batch_size, max_memory)
    for side in sides:
        side.settle(rows if batch_size is None else batch_size)
    running = [Running(first, second) for first, second in pairs]
    done = marked = 0
    for number, positions in enumerate(torch.tensor_split(shuffled(rows), count)):
        _add_batch(running, sides, number, positions, alone=count == 1)
        marked += marked_count(len(positions))
        done += len(positions)
        report("similarity", done, rows)
    batching = Batching(rows, count, marked)
    return [pair.similarity(batching, kernel, estimator) for pair in running]


def _add_batch(
    running: Sequence[Running], sides: Sequence[Side], number: int, positions: Int64[Tensor, " n"], *, alone: bool
) -> None:
    """Add one batch to every pair; its kernels are freed on return, before those of the next are made."""
    n = len(positions)
    bounds = group_bounds(n, GROUPS)
    stacks = {side: side.kernels(positions, bounds) for side in sides}
    for pair in running:
        a, b = stacks[pair.first], stacks[pair.second]
        found = moments(a, b, leave_out=alone and _can_leave_out(bounds))
        pair.add(number, found * float(n), a.energy.cpu() * n)


def distinct(sides: Sequence[Side]) -> list[Side]:
    """Return the sides, each once, in their order."""
    return list(dict.fromkeys(sides))


def _can_leave_out(bounds: list[int]) -> bool:
    largest = max(stop - start for start, stop in pairwise(bounds))
    return bounds[-1] - largest >= LEAST_ROWS


def batch_count(rows: int, layers: int, batch_size: int | None, max_memory: int) -> int:
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
