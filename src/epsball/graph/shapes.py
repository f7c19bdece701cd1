"""The shapes of the commonest kinds by formula.

PyTorch computes shapes by running a kind on meta tensors, of which some load its compiler first: that takes longer than
to read and bound a small network.
"""

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from epsball.graph.kinds import (
    Add,
    BatchNorm,
    Compare,
    Convolution,
    Divide,
    Elementwise,
    Kind,
    Linear,
    LogSoftmax,
    Maximum,
    Minimum,
    Multiply,
    Round,
    Select,
    Softmax,
    Subtract,
)

_SAME = (Elementwise, Round, Softmax, LogSoftmax)
_BROADCAST = (Add, Subtract, Multiply, Divide, Maximum, Minimum, Compare, Select)


def shape_of_kind(
    kind: Kind, inputs: Sequence[tuple[int, ...]], parameters: Mapping[str, Tensor]
) -> tuple[int, ...] | None:
    """Return the shape of a kind's value for one example; None where no formula stands here, or the inputs do not fit.

    Parameters
    ----------
    kind
        The kind.
    inputs
        The shapes of its inputs.
    parameters
        The parameters that it names.

    Examples
    --------
    >>> shape_of_kind(Elementwise(function="relu"), [(3, 8, 8)], {})
    (3, 8, 8)
    """
    if isinstance(kind, _SAME) and (not isinstance(kind, Softmax | LogSoftmax) or kind.axis < len(inputs[0])):
        return inputs[0]
    if isinstance(kind, _BROADCAST):
        return _broadcast(inputs)
    if isinstance(kind, Linear):
        width, inner = parameters[kind.weight].shape
        return (*inputs[0][:-1], width) if inputs[0] and inputs[0][-1] == inner else None
    if isinstance(kind, BatchNorm):
        fits = inputs[0] and parameters[kind.mean].shape == inputs[0][:1]
        return inputs[0] if fits else None
    return _convolved(kind, inputs[0], parameters[kind.weight]) if isinstance(kind, Convolution) else None


def _broadcast(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...] | None:
    if len({len(shape) for shape in shapes}) != 1:
        return None
    columns = [set(lengths) - {1} for lengths in zip(*shapes, strict=True)]
    return None if any(len(column) > 1 for column in columns) else tuple(max(column, default=1) for column in columns)


def _convolved(kind: Convolution, shape: tuple[int, ...], weight: Tensor) -> tuple[int, ...] | None:
    """Return floor((n + 2 p - d (k - 1) - 1) / s) + 1 per axis, transposed (n - 1) s - 2 p + d (k - 1) + 1 + more."""
    kernel, spatial = tuple(weight.shape[2:]), shape[1:]
    if len(shape) != weight.ndim - 1 or len(kind.stride) != len(kernel):
        return None
    axes = zip(spatial, kernel, kind.stride, kind.padding, kind.dilation, strict=True)
    if kind.transposed:
        channels, taken = weight.shape[1] * kind.groups, weight.shape[0]
        more = kind.output_padding or (0,) * len(kernel)
        lengths = [
            (n - 1) * s - 2 * p + d * (k - 1) + 1 + extra for (n, k, s, p, d), extra in zip(axes, more, strict=True)
        ]
    else:
        channels, taken = weight.shape[0], weight.shape[1] * kind.groups
        lengths = [math.floor((n + 2 * p - d * (k - 1) - 1) / s) + 1 for n, k, s, p, d in axes]
    return (channels, *lengths) if shape[0] == taken and min(lengths) > 0 else None
