"""Where the batch lies in a tensor of the source, whose nodes know no batch.

A source moves its batch axis about and merges it with others: attention views (5, n, 8) as
(5, 2n, 4). A `Value` says which axis that is; entries of one example are always contiguous on
either side of the batch, so a reshape of the source is a reshape of each example.
"""

import math
from dataclasses import dataclass

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Value:
    """A tensor of the source, and the node that holds it.

    Parameters
    ----------
    node
        Name of the node.
    shape
        The tensor's shape with the batch taken as 1: where the source has (5, 2n, 4), (5, 2, 4).
    axis
        The axis the batch is part of; None for a constant.
    outer
        How many of that axis's entries move slower than the batch: its length is outer * n * inner.
    """

    node: str
    shape: Shape
    axis: int | None
    outer: int = 1

    @property
    def rank(self) -> int:
        """Number of axes of the source's tensor."""
        return len(self.shape)

    @property
    def example(self) -> Shape:
        """The node's shape, that of one example: the batch axis is dropped unless it has other entries."""
        return without(self.shape, self.axis) if self.dropped else self.shape

    @property
    def dropped(self) -> bool:
        """Whether the batch axis holds nothing but the batch."""
        return self.axis is not None and self.shape[self.axis] == 1

    @property
    def before(self) -> int:
        """How many entries of one example move slower than the batch, the axes before it included."""
        return 1 if self.axis is None else math.prod(self.shape[: self.axis]) * self.outer

    def example_axis(self, axis: int) -> int:
        """Return the axis of one example that is `axis` of the source, from 0; not the batch axis."""
        return axis - 1 if self.dropped and self.axis is not None and axis > self.axis else axis


def without(shape: Shape, axis: int | None) -> Shape:
    """Return a shape with one axis left out."""
    return shape if axis is None else shape[:axis] + shape[axis + 1 :]


def batch_axis(value: Value, shape: Shape, axis: int | None = None) -> tuple[int, int] | None:
    """Return the batch axis and its `outer` after a reshape to `shape` (batch taken as 1), or None.

    With `before` entries slower than the batch, axis j can hold it where the product p of the
    axes before j divides `before`, and before / p divides the length of axis j.

    Parameters
    ----------
    value
        What is reshaped.
    shape
        The new shape.
    axis
        The axis it must be, where the source says so. Left out, an axis of length 1 comes first,
        then one that the batch leads and that is not the last, as views of attention have it.
    """
    candidates = range(len(shape)) if axis is None else (axis,)
    found = []
    for j in candidates:
        slower = math.prod(shape[:j])
        if value.before % slower == 0 and shape[j] % (value.before // slower) == 0:
            found.append((j, value.before // slower))
    last = len(shape) - 1
    return min(found, key=lambda pair: (shape[pair[0]] != 1, pair[1] != 1 or pair[0] == last), default=None)
