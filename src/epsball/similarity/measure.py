"""`measure`: passes rows through networks batch by batch, and sums HSIC for every pair of them."""

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
"""Groups of rows in a batch: blocks of the Gram matrix, and the groups of the jackknife if there is one batch."""
LEAST_BATCHES = 8
"""Fewest batches if one does not suffice: with fewer, Student's t makes intervals too wide."""
MOST_PARTS = 32
"""Most groups of batches that the jackknife leaves out in turn: more would cost memory and sharpen nothing."""
MAX_MEMORY = 48 * 2**20
"""Default bytes for the kernels of a batch."""


@dataclass(frozen=True)
class Batching:
    """How the rows are divided: the numbers of rows, of batches and of marked rows."""

    rows: int
    batches: int
    marked: int


class PairSums:
    """The sums over batches for two sides: HSIC times rows, and the mean squared row of the first side."""

    def __init__(self, first: Side, second: Side) -> None:
        self.first, self.second = first, second
        self.parts: dict[int, Moments] = {}
        self.energy: Float64[Tensor, " layers"] = torch.zeros(len(first.layers) + 1, dtype=torch.float64)

    def add(self, number: int, found: Moments, energy: Float64[Tensor, " layers"]) -> None:
        """Add batch `number`: its moments and energy, both times its rows."""
        part = number % MOST_PARTS
        self.parts[part] = self.parts[part] + found if part in self.parts else found
        self.energy = self.energy + energy

    def similarity(self, batching: Batching, kernel: Kernel, estimator: Estimator) -> Similarity:
        """Return the similarity over all batches."""
        total = reduce(add, self.parts.values())
        one = batching.batches == 1
        replicates = (total.cka()[1:] if one else without_each(list(self.parts.values())))[:, :-1, :-1]
        energy = self.energy / batching.rows
        undefined = {self.second: self.second.undefined(total.self_b[0])}
        undefined[self.first] = self.first.undefined(total.self_a[0])
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
            undefined_a=tuple(undefined[self.first]),
            undefined_b=tuple(undefined[self.second]),
            notes=tuple(
                f"{side.name}: {note}"
                for side in distinct([self.first, self.second])
                for note in side.notes(undefined[side])
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
    """Return the similarity of every pair; each row passes once through each network.

    For a kernel with a width, a sample of the rows passes once more at the start.

    Raises
    ------
    InputError
        If the requested batches, or the smallest possible ones, do not fit `max_memory`.
    ModelError
        If a layer does not run, or its activations are not finite.
    """
    sides = distinct([side for pair in pairs for side in pair])
    rows = len(sides[0].rows)
    count = batch_count(rows, sum(len(side.layers) for side in sides), batch_size, max_memory)
    for side in sides:
        side.fix_width(rows if batch_size is None else batch_size)
    sums = [PairSums(first, second) for first, second in pairs]
    done = marked = 0
    for number, positions in enumerate(torch.tensor_split(shuffled(rows), count)):
        _add_batch(sums, sides, number, positions, alone=count == 1)
        marked += marked_count(len(positions))
        done += len(positions)
        report("similarity", done, rows)
    batching = Batching(rows, count, marked)
    return [pair.similarity(batching, kernel, estimator) for pair in sums]


def _add_batch(
    sums: Sequence[PairSums], sides: Sequence[Side], number: int, positions: Int64[Tensor, " n"], *, alone: bool
) -> None:
    """Add one batch to every pair; its kernels are freed on return, before those of the next are computed."""
    n = len(positions)
    bounds = group_bounds(n, GROUPS)
    stacks = {side: side.kernels(positions, bounds) for side in sides}
    for pair in sums:
        a, b = stacks[pair.first], stacks[pair.second]
        found = moments(a, b, leave_out=alone and _can_leave_out(bounds))
        pair.add(number, found * float(n), a.energy.cpu() * n)


def distinct(sides: Sequence[Side]) -> list[Side]:
    """Return the distinct sides, in their order."""
    return list(dict.fromkeys(sides))


def _can_leave_out(bounds: list[int]) -> bool:
    largest = max(stop - start for start, stop in pairwise(bounds))
    return bounds[-1] - largest >= LEAST_ROWS


def batch_count(rows: int, layers: int, batch_size: int | None, max_memory: int) -> int:
    """Return the number of batches, one if the kernels of all rows fit.

    Raises
    ------
    InputError
        If the requested batches, or the smallest possible ones, do not fit.
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
    """Return the bytes for a batch: upper block triangles and sums in float64, and the work space of one layer."""
    values = rows**2 * (GROUPS + 1) // (2 * GROUPS) + GROUPS * rows
    return 8 * (layers + 3) * values + 8 * COLUMNS * rows
