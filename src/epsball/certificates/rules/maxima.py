"""Rules of maxima: max pooling, the maximum over axes, the greater and the lesser of two."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from epsball.certificates.arithmetic import BINARY64
from epsball.certificates.box import Box
from epsball.certificates.rules.rule import BackwardBound, NodeContext, Rule
from epsball.certificates.tensors import dot, flat, split
from epsball.graph.kinds import MaxPool


class Peak(NamedTuple):
    """x_low <= y <= slope x_high + intercept: the entries, by number in the flat input, and the line."""

    low: Tensor
    high: Tensor
    slope: Tensor
    intercept: Tensor


def peak_of(low: Tensor, high: Tensor, index: Tensor) -> Peak:
    """Return the lines around y = max_j x_j, j in a window, from bounds of the entries of each window.

    Parameters
    ----------
    low, high
        (n, *shape, k), -inf where a window has fewer than k entries.
    index
        Number of each entry in the flat input, broadcasting to the same shape.

    Below: y >= x_j, with j of the greatest lower bound. Above: let i have the greatest upper bound and c be the
    second greatest; then y <= max(x_i, c), a rectifier in x_i, which the chord from (l_i, max(l_i, c)) to
    (u_i, u_i) bounds. It is nowhere above the constant u_i, and exact where l_i >= c.
    """
    index = index.expand(low.shape)
    at_low = low.argmax(dim=-1, keepdim=True)
    top, order = high.topk(min(2, high.shape[-1]), dim=-1)
    second = top[..., 1] if high.shape[-1] > 1 else torch.full_like(top[..., 0], -math.inf)
    upper, lower = top[..., 0], low.gather(-1, order[..., :1]).squeeze(-1)
    start = torch.maximum(lower, second)
    decided = (start <= lower) | (upper <= lower)
    slope = torch.where(decided, 1.0, (upper - start) / torch.where(decided, 1.0, upper - lower))
    at_start, at_end = start - slope * lower, upper - slope * upper
    doubt = 2.0**-49 * (start.abs() + upper.abs() + slope * (lower.abs() + upper.abs())) + 2.0**-1060
    intercept = torch.where(decided, 0.0, torch.maximum(at_start, at_end) + doubt)
    return Peak(index.gather(-1, at_low).squeeze(-1), index.gather(-1, order[..., :1]).squeeze(-1), slope, intercept)


def scattered(rows: Tensor, index: Tensor, size: int) -> Tensor:
    """Return rows over the output, (n, r, outputs), added up at `index`, (n, outputs), of the flat input."""
    zeros = rows.new_zeros(*rows.shape[:2], size)
    return zeros.scatter_add(2, index.unsqueeze(1).expand(rows.shape), rows)


def backward_peak(peak: Peak, rows: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return rows over the flat input, the constant, and the magnitudes at the low and high entries."""
    positive, negative = split(flat(rows, 2))
    slope, intercept = flat(peak.slope, 1), flat(peak.intercept, 1)
    over_input = scattered(positive, flat(peak.low, 1), size)
    over_input = over_input + scattered(negative * slope.unsqueeze(1), flat(peak.high, 1), size)
    return over_input, dot(negative, intercept), dot(negative.abs(), intercept.abs())


class Maxima(Rule):
    """y = max over windows of entries of one input."""

    def interval(self, context: NodeContext, boxes: Sequence[Box]) -> Box:
        """Return the maxima of the bounds: exact, for the maximum is monotone and rounds nothing."""
        forward = context.kind.forward
        return Box(forward(boxes[0].low, parameters={}), forward(boxes[0].high, parameters={}))

    def relax(self, context: NodeContext, boxes: Sequence[Box]) -> tuple[Peak, Tensor]:
        """Return the lines, and the largest magnitude of an input."""
        low, high = self._windows(context, boxes[0].low), self._windows(context, boxes[0].high)
        numbers = torch.arange(math.prod(context.shape()), device=low.device).view(1, *context.shape())
        index = self._windows(context, numbers.to(low.dtype)).clamp(min=0).to(torch.int64)
        return peak_of(low, high, index), flat(boxes[0].magnitude, 1).amax(dim=1, keepdim=True)

    def backward(self, context: NodeContext, relaxation: tuple[Peak, Tensor], rows: Tensor) -> BackwardBound:
        """Return the rows over the input; entries add up where windows overlap."""
        peak, largest = relaxation
        over_input, constant, magnitude = backward_peak(peak, rows, math.prod(context.shape()))
        gamma = BINARY64.gamma(rows[0, 0].numel() + 4)
        error = gamma * (magnitude + flat(rows, 2).abs().sum(dim=2) * largest)
        return BackwardBound([over_input.view(*rows.shape[:2], *context.shape())], constant, error)

    @staticmethod
    def _windows(context: NodeContext, x: Tensor) -> Tensor:
        """Return the entries of every window on a last axis, -inf where a window reaches outside."""
        if isinstance(context.kind, MaxPool):
            return pooling_windows(x, context.kind, context.node.shape)
        axes = [axis + 1 for axis in context.kind.axes]
        moved = x.movedim(axes, list(range(-len(axes), 0))).flatten(-len(axes))
        return moved.reshape(len(x), *context.node.shape, -1)


def pooling_windows(x: Tensor, kind: MaxPool, shape: tuple[int, ...]) -> Tensor:
    """Return x (n, channels, *lengths) as (n, *shape, k): what each pooling window sees, -inf outside."""
    axes = len(kind.kernel)
    last = [
        (length - 1) * stride + dilation * (kernel - 1) - padding
        for length, stride, dilation, kernel, padding in zip(
            shape[1:], kind.stride, kind.dilation, kind.kernel, kind.padding, strict=True
        )
    ]
    widths = [
        width
        for end, length, padding in zip(reversed(last), reversed(x.shape[2:]), reversed(kind.padding), strict=True)
        for width in (padding, max(0, end - length + 1))
    ]
    padded = torch.nn.functional.pad(x, widths, value=-math.inf)
    windows = []
    for offsets in itertools.product(*(range(length) for length in kind.kernel)):
        window = padded
        for axis in range(axes):
            start = offsets[axis] * kind.dilation[axis]
            span = (shape[1 + axis] - 1) * kind.stride[axis] + 1
            window = window.narrow(axis + 2, start, span)[
                (slice(None),) * (axis + 2) + (slice(None, None, kind.stride[axis]),)
            ]
        windows.append(window)
    return torch.stack(windows, dim=-1)


class Extremum(Rule):
    """y = max(a, b), or (`sign` -1) min(a, b) = -max(-a, -b), entry by entry, with axes of length 1 repeated."""

    def __init__(self, sign: float) -> None:
        self.sign = sign

    def interval(self, context: NodeContext, boxes: Sequence[Box]) -> Box:
        """Return the extrema of the bounds, which are exact."""
        forward = context.kind.forward
        first, second = boxes
        return Box(forward(first.low, second.low, parameters={}), forward(first.high, second.high, parameters={}))

    def relax(self, context: NodeContext, boxes: Sequence[Box]) -> tuple[Peak, Tensor]:
        """Return the lines around max(sign a, sign b), entries numbered through both inputs."""
        ordered = [Box(self.sign * box[0], self.sign * box[1]) for box in boxes]
        if self.sign < 0:
            ordered = [Box(high, low) for low, high in ordered]
        n = max(len(box.low) for box in boxes)
        shape = (n, *context.node.shape)
        offset, numbers = 0, []
        for position in range(2):
            lengths = context.shape(position)
            size = math.prod(lengths)
            number = torch.arange(offset, offset + size, device=boxes[0].low.device).view(1, *lengths)
            numbers.append(number.expand(shape))
            offset += size
        low = torch.stack([box.low.expand(shape) for box in ordered], dim=-1)
        high = torch.stack([box.high.expand(shape) for box in ordered], dim=-1)
        largest = torch.maximum(*(flat(box.magnitude, 1).amax(dim=1, keepdim=True) for box in boxes))
        return peak_of(low, high, torch.stack(numbers, dim=-1)), largest

    def backward(self, context: NodeContext, relaxation: tuple[Peak, Tensor], rows: Tensor) -> BackwardBound:
        """Return the rows over a and b: those of sign y = max(sign a, sign b), with the sign taken back."""
        peak, largest = relaxation
        sizes = [math.prod(context.shape(position)) for position in range(2)]
        over_input, constant, magnitude = backward_peak(peak, self.sign * rows, sum(sizes))
        gamma = BINARY64.gamma(rows[0, 0].numel() + 4)
        error = gamma * (magnitude + flat(rows, 2).abs().sum(dim=2) * largest)
        parts = [
            (self.sign * part).reshape(*rows.shape[:2], *context.shape(position))
            for position, part in enumerate(over_input.split(sizes, dim=2))
        ]
        return BackwardBound(parts, constant, error)
