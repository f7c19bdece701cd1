"""The shape in which inputs come, and that in which a file takes them."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from epsball.errors import InputError, ModelError
from epsball.graph import operations
from epsball.graph.builder import Builder
from epsball.graph.onnx.file import OnnxFile
from epsball.graph.value import Value

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Arrangement:
    """How an input is laid out for a file.

    Parameters
    ----------
    given
        The shape in which it comes.
    lengths
        The shape in which the file takes it.
    free
        Whether the file leaves the length of the batch open; else it is 1.
    notes
        What was concluded from the data.
    batch
        Whether the file's first axis is the batch; else `lengths` are all its axes.
    alone
        Whether the file is read as a function of one example, whose tensors have no batch axis.
    """

    given: Shape
    lengths: Shape
    free: bool
    notes: tuple[str, ...] = ()
    batch: bool = True
    alone: bool = False

    def applied(self, builder: Builder) -> Value:
        """Return the graph's input as the file takes it."""
        if self.alone:
            builder.alone = True
            shape = (1, *self.lengths) if self.batch else self.lengths
            return Value(operations.shaped(builder, builder.input.node, shape), shape, None)
        if self.given == self.lengths:
            return builder.input
        if _moves_channels(self.given, self.lengths):
            return operations.permute(builder, builder.input, (0, 2, 3, 1))
        if math.prod(self.given) != math.prod(self.lengths):
            raise InputError(
                f"{builder.source} takes inputs of shape {self.lengths}, which {self.given} does not fill."
            )
        return operations.reshape(builder, builder.input, (1, *self.lengths), 0)

    def of(self, x: torch.Tensor) -> np.ndarray:
        """Return a batch of inputs as the file takes it."""
        x = x.permute(0, 2, 3, 1) if _moves_channels(self.given, self.lengths) else x
        return x.reshape(len(x), *self.lengths).contiguous().numpy()


def arrangement(file: OnnxFile, shape: Shape | None, data_shape: Shape | None, *, whole: bool = False) -> Arrangement:
    """Return how inputs are laid out for a file.

    Parameters
    ----------
    file
        The file.
    shape
        The shape in which inputs come, if the user says it.
    data_shape
        The shape of the data, if known: taken where it leaves one meaning only.
    whole
        Whether a first axis that is no batch is taken as part of the one example.

    Raises
    ------
    ModelError
        If the file does not take batches of one or any length.
    InputError
        If lengths are open, or the data have another shape that could be meant in several ways.
    """
    sizes = [axis.dim_value if axis.HasField("dim_value") else 0 for axis in file.input.type.tensor_type.shape.dim]
    if len(sizes) < 2 or sizes[0] not in (0, 1, -1):
        if whole:
            lengths = _lengths(file.path, sizes, shape, None)
            return Arrangement(lengths, lengths, free=False, batch=False, alone=True)
        raise ModelError(
            f"{file.path} takes inputs of shape {sizes}; its first axis must be the batch, of any length or 1. "
            "Export it for one example, or with a free first axis."
        )
    free = sizes[0] != 1
    lengths = _lengths(file.path, sizes[1:], shape, data_shape)
    if shape is not None or data_shape in (None, lengths):
        return Arrangement(shape or lengths, lengths, free)
    written = f"({', '.join(map(str, lengths))})"
    if _moves_channels(data_shape, lengths):
        return Arrangement(data_shape, lengths, free, (f"it takes {written}: the data's channels are moved last",))
    if [n for n in data_shape if n != 1] == [n for n in lengths if n != 1] or _is_one_channel_flat(data_shape, lengths):
        return Arrangement(data_shape, lengths, free, (f"it takes {written}: the data are given to it in that shape",))
    hint = ""
    if math.prod(data_shape) == math.prod(lengths):
        hint = f" If their entries are in the order it takes, say so: shape={'x'.join(map(str, data_shape))}."
    raise InputError(
        f"{file.path} takes inputs of shape {'x'.join(map(str, lengths))}, the data has "
        f"{'x'.join(map(str, data_shape))}. Use the data it was made for, or transform the data.{hint}"
    )


def _lengths(path: Path, sizes: list[int], shape: Shape | None, data_shape: Shape | None) -> Shape:
    """Return the shape of one example as the file has it, its open lengths taken from what is given."""
    if all(size > 0 for size in sizes):
        return tuple(sizes)
    given = shape or data_shape
    if given is not None and len(given) == len(sizes) == 3 and not _matches(sizes, given):
        given = next((moved for moved in ((given[1], given[2], given[0]),) if _matches(sizes, moved)), given)
    if given is None or len(given) != len(sizes) or not _matches(sizes, given):
        raise InputError(f"{path} leaves lengths of its input open, {sizes}; give shape=, such as shape=3x32x32.")
    return given


def _matches(sizes: list[int], given: Shape) -> bool:
    return all(size in (length, 0, -1) for size, length in zip(sizes, given, strict=True))


def _moves_channels(given: Shape, lengths: Shape) -> bool:
    """Return whether inputs come as (c, h, w) where the file takes (h, w, c)."""
    return given != lengths and len(given) == len(lengths) == 3 and given == (lengths[2], lengths[0], lengths[1])


def _is_one_channel_flat(given: Shape, lengths: Shape) -> bool:
    """Return whether a file takes, as one vector, the entries of pictures of one channel."""
    return len(lengths) == 1 and given[0] == 1 and math.prod(given) == lengths[0]
