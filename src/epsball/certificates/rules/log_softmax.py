"""The rule of log-softmax: y_i = x_i - log sum_j exp(x_j); rows that sum to 0, as margins do, lose the logarithm."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from epsball.certificates.arithmetic import BINARY64, Format
from epsball.certificates.box import Box
from epsball.certificates.curves import LinearRelaxation, curve_of, linear_relaxation
from epsball.certificates.rules.pointwise import backward_lines
from epsball.certificates.rules.rule import BackwardBound, NodeContext, Rule
from epsball.certificates.rules.softmax import EXPONENTIAL_UNITS, Exponentials, exponentials
from epsball.certificates.tensors import dot

_LOG = curve_of("log", ())


class LogSoftmaxRelaxation(NamedTuple):
    """The lines around the exponentials and the logarithm of their sum, and bounds on all three."""

    exponentials: Exponentials
    logarithm: LinearRelaxation
    size: Tensor


class LogSoftmaxRule(Rule):
    """x_i - log sum_j exp(x_j) over one axis.

    Kernels take the greatest entry m and s = log sum_j exp(x_j - m), and return (x - m) - s or x - (m + s).
    """

    def interval(self, context: NodeContext, boxes: Sequence[Box]) -> Box:
        """Return -log sum_j exp(x_j - x_i) with every x_j, j not i, at the end that is worst."""
        low, high = (part.movedim(context.kind.axis + 1, -1) for part in boxes[0])
        least, most = _log_probability(low, high), _log_probability(high, low)
        return Box(least.movedim(-1, context.kind.axis + 1), most.movedim(-1, context.kind.axis + 1))

    def error(self, context: NodeContext, boxes: Sequence[Box], box: Box, format: Format) -> Tensor | float:
        """Return 3 u |y| + 2 u max |x| + what s is off by: with n exponentials gamma of n, and 16 units of log n."""
        length = context.shape()[context.kind.axis]
        most = boxes[0].magnitude.amax(dim=context.kind.axis + 1, keepdim=True)
        sum_error = format.gamma(2 * length + EXPONENTIAL_UNITS + 32 + 16 * math.ceil(math.log(length)))
        return 3 * format.unit * box.magnitude + 2 * format.unit * most + (sum_error + 4 * format.tiny)

    def unstable(self, context: NodeContext, boxes: Sequence[Box]) -> Sequence[Tensor]:
        """Return every neuron that varies, but none of the logits: margins do not use the logarithm."""
        varies = boxes[0].high > boxes[0].low
        return [varies & (context.node.name != context.graph.output)]

    def relax(self, context: NodeContext, boxes: Sequence[Box]) -> LogSoftmaxRelaxation:
        """Return the lines around exp, and those of the logarithm around the sum."""
        parts = exponentials(boxes[0], context.kind.axis + 1)
        total = Box(parts.total.low.clamp(min=math.ulp(0.0)), parts.total.high)
        logarithm = linear_relaxation(_LOG, *total).for_rows()
        # log sum_j exp(x_j) lies between max_j x_j and that + log n.
        size = boxes[0].magnitude.amax(dim=context.kind.axis + 1, keepdim=True) + math.log(
            context.shape()[context.kind.axis]
        )
        return LogSoftmaxRelaxation(parts, logarithm, size)

    def backward(self, context: NodeContext, relaxation: LogSoftmaxRelaxation, rows: Tensor) -> BackwardBound:
        """Return A - (sum_i A_i) (the rows of the logarithm over x), less the shift."""
        axis, parts = context.kind.axis + 2, relaxation.exponentials
        over_log = -rows.sum(dim=axis, keepdim=True)
        through_log = backward_lines(relaxation.logarithm, over_log)
        over_e = through_log.rows[0].expand_as(rows)
        through_exp = backward_lines(parts.lines, over_e)
        over_x = through_exp.rows[0]
        # The shift c is exact: log sum_j exp(x_j) = c + log sum_j exp(x_j - c), and the lines are over x - c.
        shift, size = (part.expand(len(part), *context.node.shape) for part in (parts.shift, relaxation.size))
        doubt = size + 2 * shift.abs()
        lost = dot(rows.abs() + over_x.abs(), doubt) + dot(over_e.abs(), parts.box.magnitude)
        lost = lost + dot(through_log.rows[0].abs(), parts.total.high)
        gamma = BINARY64.gamma(2 * rows[0, 0].numel() + 8)
        shifts = dot(over_log, parts.shift) - dot(over_x, shift)
        constant = through_log.constant + through_exp.constant + shifts
        return BackwardBound([rows + over_x], constant, through_log.error + through_exp.error + gamma * lost)


def _log_probability(own: Tensor, others: Tensor) -> Tensor:
    """Return own_i - log(exp(own_i) + sum_{j != i} exp(others_j)) over the last axis."""
    differences = others.unsqueeze(-2) - own.unsqueeze(-1)
    diagonal = torch.eye(own.shape[-1], dtype=torch.bool, device=own.device)
    return -torch.logsumexp(differences.masked_fill(diagonal, 0.0), dim=-1)
