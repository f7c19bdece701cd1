"""`Value`: a tensor of the source, with the position of its batch axis; nodes have no batch axis.

A source moves its batch axis and merges it with others: attention views (5, n, 8) as (5, 2n, 4). A
`Value` says which axis that is. The entries of one example are always contiguous on either side of
the batch, so a reshape of the source is a reshape of each example.
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
        The tensor's shape with n = 1: (5, 2, 4) where the source has (5, 2n, 4).
    axis
        The axis that contains the batch; None for a constant.
    outer
        That axis has length outer * n * inner: `outer` is the factor on the slow side of the batch.
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
        """The shape of the node, that of one example: without the batch axis if it holds only the batch."""
        return without(self.shape, self.axis) if self.dropped else self.shape

    @property
    def dropped(self) -> bool:
        """Whether the batch axis holds only the batch."""
        return self.axis is not None and self.shape[self.axis] == 1

    @property
    def before(self) -> int:
        """The number of entries of one example on the slow side of the batch, the axes before it included."""
        return 1 if self.axis is None else math.prod(self.shape[: self.axis]) * self.outer

    def example_axis(self, axis: int) -> int:
        """Return the axis of one example that is `axis` (from 0, not the batch axis) of the source."""
        return axis - 1 if self.dropped and self.axis is not None and axis > self.axis else axis


def without(shape: Shape, axis: int | None) -> Shape:
    """Return a shape with one axis left out."""
    return shape if axis is None else shape[:axis] + shape[axis + 1 :]


def batch_axis(value: Value, shape: Shape, axis: int | None = None) -> tuple[int, int] | None:
    """Return the batch axis and its `outer` after a reshape to `shape` (with n = 1), or None.

    With `before` entries on the slow side of the batch, axis j can hold the batch if the product p
    of the axes before j divides `before`, and before / p divides the length of axis j.

    Parameters
    ----------
    value
        The value to reshape.
    shape
        The new shape.
    axis
        The axis it must be, if the source says so. Otherwise an axis of length 1 is preferred, then
        one that the batch leads and that is not the last, as in the views of attention.
    """
    candidates = range(len(shape)) if axis is None else (axis,)
    found = []
    for j in candidates:
        slower = math.prod(shape[:j])
        if value.before % slower == 0 and shape[j] % (value.before // slower) == 0:
            found.append((j, value.before // slower))
    last = len(shape) - 1
    return min(found, key=lambda pair: (shape[pair[0]] != 1, pair[1] != 1 or pair[0] == last), default=None)
