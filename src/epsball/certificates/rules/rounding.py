"""The rule of rounding to whole numbers."""

from collections.abc import Sequence

import torch
from torch import Tensor

from epsball.certificates.arithmetic import Format
from epsball.certificates.box import Box
from epsball.certificates.curves import LinearRelaxation
from epsball.certificates.rules.pointwise import backward_lines
from epsball.certificates.rules.rule import BackwardBound, NodeContext, Rule

_OFFSETS = {"floor": (-1.0, 0.0), "ceil": (0.0, 1.0), "round": (-0.5, 0.5)}
"""How far the rounded number may lie below and above the number itself."""


class WholeNumbers(Rule):
    """y = floor(x), ceil(x) or round(x): x + b <= y <= x + t, and f(l) <= y <= f(u), exactly.

    Of the two bounds on either side the one is taken that is nearer in the middle of the box. Rounding a float to a
    whole number has no error, so the lines hold for what is computed as for real numbers.
    """

    def interval(self, context: NodeContext, boxes: Sequence[Box]) -> Box:
        """Return the values at the ends: rounding never decreases."""
        return Box(*(context.kind.forward(end, parameters=context.parameters) for end in boxes[0]))

    def error(self, context: NodeContext, boxes: Sequence[Box], box: Box, format: Format) -> Tensor | float:
        """Return 1 where a number below 2^-126 in size, that may be taken for 0, lies on the other side of a jump."""
        if not format.flushes or context.kind.direction == "round":
            return 0.0
        (x,) = boxes
        return ((x.low < format.tiny) & (x.high > -format.tiny)).to(x.low.dtype)

    def unstable(self, context: NodeContext, boxes: Sequence[Box]) -> Sequence[Tensor]:
        """Return where a jump lies inside."""
        low, high = self.interval(context, boxes)
        return [high > low]

    def relax(self, context: NodeContext, boxes: Sequence[Box]) -> LinearRelaxation:
        """Return the lines over the box, with an axis of length 1 for the rows."""
        (x,) = boxes
        least, most = self.interval(context, boxes)
        below, above = _OFFSETS[context.kind.direction]
        middle, varies = 0.5 * x.low + 0.5 * x.high, most > least
        tilted_below, tilted_above = varies & (middle + below > least), varies & (middle + above < most)
        return LinearRelaxation(
            tilted_below.to(x.low.dtype),
            torch.where(tilted_below, below, least),
            tilted_above.to(x.low.dtype),
            torch.where(tilted_above, above, most),
        ).for_rows()

    def backward(self, context: NodeContext, relaxation: LinearRelaxation, rows: Tensor) -> BackwardBound:
        """Return the rows over x."""
        return backward_lines(relaxation, rows)
