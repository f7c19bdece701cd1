"""The transpose of a strided convolution as matrix products, one for each offset of whole strides.

Entry i of a row meets entry i s + k of the input. With k = j s + a that is entry a of the stride g = i + j: for all
a < s at once, stride g sums the row's entries g - j times the weights of (j, a). On a grid with as many zeros
after each axis as the largest j, the entries g - j of all rows are one contiguous shift of memory: no windows are
copied, and no columns are added up.
"""

import itertools
import math
from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional


def transposed_by_phases(
    rows: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], shape: Sequence[int]
) -> Tensor:
    """Return rows (m, c, *lengths) over a convolution of weight (c, d, *kernel) as rows (m, d, *shape) over its input.

    Without groups and dilation. Fastest with the channels last in memory, which is how the result lies.
    """
    shifts = [-(-kernel // step) for kernel, step in zip(weight.shape[2:], stride, strict=True)]
    grid = [length + shift - 1 for length, shift in zip(rows.shape[2:], shifts, strict=True)]
    places = _on_grid(rows, grid, shifts)
    total, lead = len(rows) * math.prod(grid), len(places) - len(rows) * math.prod(grid)
    carried = rows.new_zeros(total, math.prod(stride) * weight.shape[1])
    for shift, matrix in _matrices(weight, stride, shifts):
        back = lead - sum(j * math.prod(grid[axis + 1 :]) for axis, j in enumerate(shift))
        carried = carried.addmm_(places[back : back + total], matrix)
    return _interleaved(carried.view(len(rows), *grid, *stride, weight.shape[1]), stride, padding, shape)


def _on_grid(rows: Tensor, grid: list[int], shifts: list[int]) -> Tensor:
    """Return rows with channels last, one place after the other, and zeros in front for the largest shift."""
    lead = sum((shift - 1) * math.prod(grid[axis + 1 :]) for axis, shift in enumerate(shifts))
    places = rows.new_zeros(lead + len(rows) * math.prod(grid), rows.shape[1])
    inside = tuple(slice(0, length) for length in rows.shape[2:])
    places[lead:].view(len(rows), *grid, -1)[(slice(None), *inside)] = rows.movedim(1, -1)
    return places


def _matrices(weight: Tensor, stride: Sequence[int], shifts: list[int]):
    """Yield each shift j with the weights (c, prod(stride) d) of the entries j s + a."""
    axes = len(stride)
    rest = [
        width
        for kernel, step, shift in zip(reversed(weight.shape[2:]), reversed(stride), reversed(shifts), strict=True)
        for width in (0, shift * step - kernel)
    ]
    split = functional.pad(weight, rest).view(
        *weight.shape[:2], *itertools.chain.from_iterable(zip(shifts, stride, strict=True))
    )
    order = [*range(2, 2 + 2 * axes, 2), 0, *range(3, 3 + 2 * axes, 2), 1]
    split = split.permute(order).flatten(axes + 1)
    for shift in itertools.product(*map(range, shifts)):
        yield shift, split[shift]


def _interleaved(carried: Tensor, stride: Sequence[int], padding: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Return (m, *grid, *stride, d) as (m, d, *shape), channels last in memory: strides side by side, no padding."""
    axes = len(stride)
    order = [0, *itertools.chain.from_iterable((1 + axis, 1 + axes + axis) for axis in range(axes)), 1 + 2 * axes]
    grid = carried.shape[1 : 1 + axes]
    lengths = [length * step for length, step in zip(grid, stride, strict=True)]
    whole = carried.permute(order).reshape(len(carried), *lengths, -1)
    ends = [
        width
        for before, length, full in zip(reversed(padding), reversed(shape), reversed(lengths), strict=True)
        for width in (-before, length + before - full)
    ]
    return (functional.pad(whole, [0, 0, *ends]) if any(ends) else whole).movedim(-1, 1)
