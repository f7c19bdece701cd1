"""The rule of softmax: y_i = e_i q, e_i = exp(x_i - c), q = 1 / sum_j e_j, for a constant c that cancels."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from epsball.certificates.arithmetic import BINARY64, Format
from epsball.certificates.box import Box
from epsball.certificates.curves import LinearRelaxation, curve_of, linear_relaxation
from epsball.certificates.rules.pointwise import backward_lines
from epsball.certificates.rules.products import RECIPROCAL, Factors, backward_product, factors_of, outward
from epsball.certificates.rules.rule import BackwardBound, NodeContext, Rule
from epsball.certificates.tensors import dot

EXP = curve_of("exp", ())
EXPONENTIAL_UNITS = 64
"""What an exponential inside a softmax may be off by, in units u: vectorised kernels state 20 in the last place."""
_STEPS = 2 * EXPONENTIAL_UNITS + 16
"""Roundings of a softmax besides its sum: the differences, exponentials above and below, the quotient."""


class Exponentials(NamedTuple):
    """Lines around exp(x - shift), their box, and that of their sum over an axis."""

    shift: Tensor
    lines: LinearRelaxation
    box: Box
    total: Box


def exponentials(box: Box, axis: int) -> Exponentials:
    """Return the lines around exp(x_i - c) along an axis of x, for the greatest upper bound c."""
    shift = box.high.amax(dim=axis, keepdim=True)
    doubt = 2.0**-51 * (box.magnitude + shift.abs())
    shifted = Box(box.low - shift - doubt, box.high - shift + doubt)
    exponential = outward(EXP, shifted)
    # exp is positive: underflow to 0, or the error taken off, would make its sum's reciprocal unbounded.
    exponential = Box(exponential.low.clamp(min=0), exponential.high)
    gamma = BINARY64.gamma(shifted.low.shape[axis] + 2)
    total = Box(
        exponential.low.sum(dim=axis, keepdim=True) * (1 - gamma),
        exponential.high.sum(dim=axis, keepdim=True) * (1 + gamma),
    )
    return Exponentials(shift, linear_relaxation(EXP, *shifted).for_rows(), exponential, total)


class SoftmaxRelaxation(NamedTuple):
    """The parts of softmax's relaxation."""

    shift: Tensor
    exponential: LinearRelaxation
    exponential_size: Tensor
    reciprocal: LinearRelaxation
    sum_size: Tensor
    factors: Factors


class SoftmaxRule(Rule):
    """exp(x_i) / sum_j exp(x_j) over one axis."""

    def interval(self, context: NodeContext, boxes: Sequence[Box]) -> Box:
        """Return 1 / sum_j exp(x_j - x_i) with every x_j, j not i, at the end that is worst."""
        low, high = (part.movedim(context.kind.axis + 1, -1) for part in boxes[0])
        least, most = _probability(low, high), _probability(high, low)
        return Box(least.movedim(-1, context.kind.axis + 1), most.movedim(-1, context.kind.axis + 1))

    def error(self, context: NodeContext, boxes: Sequence[Box], box: Box, format: Format) -> Tensor | float:
        """Return the assumed error, relative to the result but for what the differences x_i - x_j lose."""
        length = context.shape()[context.kind.axis]
        spread = (boxes[0].high - boxes[0].low.amin(dim=context.kind.axis + 1, keepdim=True)).abs()
        most = torch.maximum(spread, boxes[0].magnitude).amax(dim=context.kind.axis + 1, keepdim=True)
        # An exponential, a difference or the quotient may underflow; the sum is at least 1.
        return (format.gamma(length + _STEPS) + 8 * format.unit * most) * box.magnitude + 4 * format.tiny

    def floor(self, context: NodeContext, boxes: Sequence[Box]) -> Tensor | float:
        """Return 0: exponentials and their quotients keep the sign."""
        return 0.0

    def relax(self, context: NodeContext, boxes: Sequence[Box]) -> SoftmaxRelaxation:
        """Return the lines around exp and the reciprocal, and McCormick's factors of their product."""
        parts = exponentials(boxes[0], context.kind.axis + 1)
        inverse = outward(RECIPROCAL, parts.total)
        return SoftmaxRelaxation(
            parts.shift,
            parts.lines,
            parts.box.magnitude,
            linear_relaxation(RECIPROCAL, *parts.total).for_rows(),
            parts.total.high,
            factors_of(parts.box, inverse, context.node.shape),
        )

    def backward(self, context: NodeContext, relaxation: SoftmaxRelaxation, rows: Tensor) -> BackwardBound:
        """Return the rows over x, through the product, the reciprocal, the sum and the exponentials."""
        axis = context.kind.axis + 2
        over_e, over_q, constant, error = backward_product(relaxation.factors, rows)
        inverse = backward_lines(relaxation.reciprocal, over_q.sum(dim=axis, keepdim=True))
        over_e = over_e + inverse.rows[0]
        through_exp = backward_lines(relaxation.exponential, over_e)
        over_x = through_exp.rows[0]
        shift = relaxation.shift.expand(len(relaxation.shift), *context.node.shape)
        gamma = BINARY64.gamma(rows[0, 0].numel() + 8)
        rounding = dot(inverse.rows[0].abs(), relaxation.sum_size) + dot(over_e.abs(), relaxation.exponential_size)
        rounding = rounding + dot(over_x.abs(), shift.abs())
        return BackwardBound(
            [over_x],
            constant + inverse.constant + through_exp.constant - dot(over_x, shift),
            error + inverse.error + through_exp.error + gamma * rounding,
        )


def _probability(own: Tensor, others: Tensor) -> Tensor:
    """Return exp(own_i) / (exp(own_i) + sum_{j != i} exp(others_j)) over the last axis."""
    differences = others.unsqueeze(-2) - own.unsqueeze(-1)
    diagonal = torch.eye(own.shape[-1], dtype=torch.bool, device=own.device)
    return 1 / torch.exp(differences.masked_fill(diagonal, 0.0)).sum(dim=-1)
