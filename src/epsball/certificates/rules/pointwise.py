"""Rules of the functions of one variable, applied entry by entry."""

from collections.abc import Sequence

import torch
from torch import Tensor

from epsball.certificates.arithmetic import BINARY64, Format
from epsball.certificates.box import Box
from epsball.certificates.curves import (
    Curve,
    LinearRelaxation,
    curve_of,
    linear_relaxation,
    rectifier_relaxation,
    relu_relaxation_in_training,
)
from epsball.certificates.rules.rule import BackwardBound, NodeContext, Rule
from epsball.certificates.tensors import as_stored, dot, flat, rowwise_dot, split


class Pointwise(Rule):
    """y = f(x) between two lines, y >= a x + c and y <= s x + t, for each entry.

    A row with coefficients A over y is bounded below by max(A, 0) (a x + c) + min(A, 0) (s x + t).
    """

    def interval(self, context: NodeContext, boxes: Sequence[Box]) -> Box:
        """Return the least and the greatest value over the box."""
        return self._curve(context).interval(boxes[0])

    def error(self, context: NodeContext, boxes: Sequence[Box], box: Box, format: Format) -> Tensor | float:
        """Return the assumed error of the kernel."""
        return self._curve(context).error(boxes[0], box, format)

    def intermediate(self, context: NodeContext, boxes: Sequence[Box], box: Box) -> Tensor:
        """Return what the kernel meets, such as the exponential within a softplus."""
        return self._curve(context).intermediate(boxes[0], box)

    def floor(self, context: NodeContext, boxes: Sequence[Box]) -> Tensor | float:
        """Return 0 for the functions whose kernels keep the sign."""
        return self._curve(context).lowest(boxes[0])

    def unstable(self, context: NodeContext, boxes: Sequence[Box]) -> Sequence[Tensor]:
        """Return where a cut lies inside, or every neuron that varies if the function is bent."""
        return [self._curve(context).unstable(boxes[0])]

    def relax(self, context: NodeContext, boxes: Sequence[Box]) -> LinearRelaxation:
        """Return the lines over the box, with an axis of length 1 for the rows."""
        low, high = boxes[0]
        kind = context.kind
        if kind.function == "relu":
            # Boxes have a gradient in training only, which certifies nothing.
            in_training = low.requires_grad and torch.is_grad_enabled()
            lines = relu_relaxation_in_training(low, high) if in_training else rectifier_relaxation(low, high, 0.0)
        elif kind.function == "leaky_relu":
            lines = rectifier_relaxation(low, high, *(kind.arguments or (0.01,)))
        else:
            lines = linear_relaxation(self._curve(context), low, high)
        return lines.for_rows()

    def backward(self, context: NodeContext, relaxation: LinearRelaxation, rows: Tensor) -> BackwardBound:
        """Return the rows over x."""
        return backward_lines(relaxation, rows)

    @staticmethod
    def _curve(context: NodeContext) -> Curve:
        kind = context.kind
        return curve_of(kind.function, kind.arguments)


class Rectifier(Rule):
    """PReLU: like `Pointwise`, with a slope for each channel."""

    def interval(self, context: NodeContext, boxes: Sequence[Box]) -> Box:
        """Return the values at the ends, and 0 where the slope below is negative and 0 lies inside."""
        low, high = boxes[0]
        at_low = context.kind.forward(low, parameters=context.parameters)
        at_high = context.kind.forward(high, parameters=context.parameters)
        turning = torch.where((low < 0) & (high > 0), torch.zeros_like(low), at_low)
        least = torch.minimum(torch.minimum(at_low, at_high), turning)
        return Box(least, torch.maximum(at_low, at_high))

    def error(self, context: NodeContext, boxes: Sequence[Box], box: Box, format: Format) -> Tensor | float:
        """Return the error of one product, and of a factor that is taken for 0."""
        steepest = context.parameters[context.kind.slope].abs().max()
        return 2 * format.unit * box.magnitude + format.tiny * (1 + steepest + boxes[0].magnitude)

    def unstable(self, context: NodeContext, boxes: Sequence[Box]) -> Sequence[Tensor]:
        """Return where the sign of x is unknown."""
        return [(boxes[0].low < 0) & (boxes[0].high > 0)]

    def relax(self, context: NodeContext, boxes: Sequence[Box]) -> LinearRelaxation:
        """Return the lines over the box, with an axis of length 1 for the rows."""
        slope = context.parameters[context.kind.slope].view(1, -1, *(1,) * (len(context.node.shape) - 1))
        return rectifier_relaxation(*boxes[0], slope).for_rows()

    def backward(self, context: NodeContext, relaxation: LinearRelaxation, rows: Tensor) -> BackwardBound:
        """Return the rows over x."""
        return backward_lines(relaxation, rows)


def carried(lines: LinearRelaxation, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return max(A, 0) a + min(A, 0) s, rows over x, and max(A, 0) . c + min(A, 0) . t, without their rounding.

    Rows of one example, (1, r, *shape), are shared by all; lines may differ by row.
    """
    stored, *parts = as_stored(rows, *lines)
    lower_slope, lower, upper_slope, upper = (flat(part, 2) for part in parts)
    positive, negative = split(flat(stored, 2))
    constant = rowwise_dot(positive, lower) + rowwise_dot(negative, upper)
    values = (positive * lower_slope).addcmul_(negative, upper_slope)
    values = values.reshape(*values.shape[:2], *stored.shape[2:])
    return values if stored is rows else values.movedim(-1, 2), constant


def backward_lines(lines: LinearRelaxation, rows: Tensor) -> BackwardBound:
    """Return `carried` with a bound on the rounding of its constant."""
    over_x, constant = carried(lines, rows)
    gamma = BINARY64.gamma(rows[0, 0].numel() + 3)
    if not lines.lower.any() and bool((lines.upper >= 0).all()):
        # Terms of one sign: their magnitudes' sum is the sum's.
        return BackwardBound([over_x], constant, gamma * constant.abs())
    positive, negative = split(rows)
    magnitude = dot(positive, lines.lower[:, 0].abs()) - dot(negative, lines.upper[:, 0].abs())
    return BackwardBound([over_x], constant, gamma * magnitude)
