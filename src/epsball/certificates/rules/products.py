"""Rules of products, quotients and matrix products of two values that both vary.

McCormick's bounds of a b over [al, au] x [bl, bu] are bl a + al b - al bl <= a b <= bu a + al b - al bu. (The other
pair, with au, has the same height in the middle.) Where one factor is a point they are the product itself.

References
----------
McCormick, "Computability of global solutions to factorable nonconvex programs", Mathematical Programming 10 (1976).
Shi et al., "Robustness verification for transformers" (ICLR 2020).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from epsball.certificates.arithmetic import BINARY64, Format
from epsball.certificates.box import Box
from epsball.certificates.curves import Curve, LinearRelaxation, curve_of, linear_relaxation
from epsball.certificates.rules.pointwise import backward_lines
from epsball.certificates.rules.rule import BackwardBound, NodeContext, Rule
from epsball.certificates.tensors import dot, split, summed_to

RECIPROCAL = curve_of("reciprocal", ())
SQUARE = curve_of("square", ())


class Factors(NamedTuple):
    """What McCormick's bounds need: the box of b, the lower bounds of a, and bounds on their products."""

    a_low: Tensor
    b_low: Tensor
    b_high: Tensor
    at_low: Tensor
    at_high: Tensor
    size: Tensor


def product_box(a: Box, b: Box) -> Box:
    """Return the least and greatest of the four products of ends."""
    ends = torch.stack(torch.broadcast_tensors(a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high))
    return Box(ends.amin(dim=0), ends.amax(dim=0))


def factors_of(a: Box, b: Box, shape: tuple[int, ...]) -> Factors:
    """Return the factors entry by entry, each (n, *shape)."""
    n = max(len(a.low), len(b.low))
    a_low, b_low, b_high = (part.expand(n, *shape) for part in (a.low, b.low, b.high))
    size = (a.magnitude * b.magnitude).expand(n, *shape)
    return Factors(a_low, b_low, b_high, a_low * b_low, a_low * b_high, size)


def backward_product(factors: Factors, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return rows over a and over b, both (n, r, *shape), the constant, and a bound on every rounding.

    Each coefficient and each summand is off by at most a few units of abs(A) abs(a) abs(b).
    """
    positive, negative = split(rows)
    over_a = positive * factors.b_low.unsqueeze(1) + negative * factors.b_high.unsqueeze(1)
    over_b = rows * factors.a_low.unsqueeze(1)
    constant = -(dot(positive, factors.at_low) + dot(negative, factors.at_high))
    error = 4 * BINARY64.gamma(rows[0, 0].numel() + 8) * dot(rows.abs(), factors.size)
    return over_a, over_b, constant, error


class Product(Rule):
    """y = a b, entry by entry, with axes of length 1 repeated; the square where both are one node."""

    def interval(self, context: NodeContext, boxes: Sequence[Box]) -> Box:
        """Return the extreme products."""
        return SQUARE.interval(boxes[0]) if _same(context) else product_box(*boxes)

    def error(self, context: NodeContext, boxes: Sequence[Box], box: Box, format: Format) -> Tensor | float:
        """Return the rounding of the product, of a factor that is a Python number, and of one that is taken for 0."""
        a, b = boxes
        return 3 * format.unit * box.magnitude + format.tiny * (1 + a.magnitude + b.magnitude)

    def floor(self, context: NodeContext, boxes: Sequence[Box]) -> Tensor | float:
        """Return 0 for a square, else -infinity."""
        return 0.0 if _same(context) else -math.inf

    def relax(self, context: NodeContext, boxes: Sequence[Box]) -> Factors | LinearRelaxation:
        """Return McCormick's factors, or the lines around a square."""
        if _same(context):
            return linear_relaxation(SQUARE, *boxes[0]).for_rows()
        return factors_of(boxes[0], boxes[1], context.node.shape)

    def backward(self, context: NodeContext, relaxation: Factors | LinearRelaxation, rows: Tensor) -> BackwardBound:
        """Return the rows over a and b."""
        if isinstance(relaxation, LinearRelaxation):
            found = backward_lines(relaxation, rows)
            return BackwardBound([found.rows[0], torch.zeros_like(found.rows[0])], found.constant, found.error)
        over_a, over_b, constant, error = backward_product(relaxation, rows)
        return BackwardBound([_onto(over_a, context.shape(0)), _onto(over_b, context.shape(1))], constant, error)


class Quotient(Rule):
    """y = a / b = a q with q = 1 / b, entry by entry; b is bounded away from 0 or nothing is known."""

    def interval(self, context: NodeContext, boxes: Sequence[Box]) -> Box:
        """Return the extreme quotients."""
        return product_box(boxes[0], RECIPROCAL.interval(boxes[1]))

    def error(self, context: NodeContext, boxes: Sequence[Box], box: Box, format: Format) -> Tensor | float:
        """Return the rounding of the quotient, also as a product with a rounded reciprocal; either may underflow."""
        a, b = boxes
        return 5 * format.unit * box.magnitude + format.tiny * (1 + a.magnitude + 1 / _least_magnitude(b))

    def intermediate(self, context: NodeContext, boxes: Sequence[Box], box: Box) -> Tensor:
        """Return the quotient and twice the reciprocal: below 2^-126 a divisor may be taken for 0."""
        return torch.maximum(box.magnitude, 2 / _least_magnitude(boxes[1]))

    def relax(self, context: NodeContext, boxes: Sequence[Box]) -> tuple[Factors, LinearRelaxation]:
        """Return McCormick's factors of a and q, and the lines around q."""
        inverse = outward(RECIPROCAL, boxes[1])
        lines = linear_relaxation(RECIPROCAL, *boxes[1]).for_rows()
        return factors_of(boxes[0], inverse, context.node.shape), lines

    def backward(
        self, context: NodeContext, relaxation: tuple[Factors, LinearRelaxation], rows: Tensor
    ) -> BackwardBound:
        """Return the rows over a and, through q, over b."""
        factors, lines = relaxation
        over_a, over_q, constant, error = backward_product(factors, rows)
        found = backward_lines(lines, _onto(over_q, context.shape(1)))
        return BackwardBound(
            [_onto(over_a, context.shape(0)), found.rows[0]], constant + found.constant, error + found.error
        )


class MatrixProduct(Rule):
    """y_ik = sum_j a_ij b_jk over the last two axes, McCormick's bounds term by term."""

    def interval(self, context: NodeContext, boxes: Sequence[Box]) -> Box:
        """Return the sums of the extreme products."""
        a, b = boxes
        total = None
        for j in range(context.shape(0)[-1]):
            term = product_box(
                Box(a.low[..., j : j + 1], a.high[..., j : j + 1]),
                Box(b.low[..., j : j + 1, :], b.high[..., j : j + 1, :]),
            )
            total = term if total is None else Box(total.low + term.low, total.high + term.high)
        if total is None:
            raise ValueError("a matrix product over an empty axis")
        return total

    def error(self, context: NodeContext, boxes: Sequence[Box], box: Box, format: Format) -> Tensor | float:
        """Return gamma_{m+1} abs(a) abs(b), m the length of the axis summed over."""
        size = boxes[0].magnitude @ boxes[1].magnitude
        terms = context.shape(0)[-1]
        underflow = format.tiny * terms * (2 + boxes[0].magnitude.amax() + boxes[1].magnitude.amax())
        return format.gamma(terms + 2) * size + underflow

    def intermediate(self, context: NodeContext, boxes: Sequence[Box], box: Box) -> Tensor:
        """Return what partial sums may reach, though the terms cancel."""
        return boxes[0].magnitude @ boxes[1].magnitude

    def relax(self, context: NodeContext, boxes: Sequence[Box]) -> Factors:
        """Return the factors, and their matrix products."""
        a, b = boxes
        n = max(len(a.low), len(b.low))
        a_low, b_low, b_high = (part.expand(n, *part.shape[1:]) for part in (a.low, b.low, b.high))
        size = a.magnitude @ b.magnitude
        return Factors(a_low, b_low, b_high, a_low @ b_low, a_low @ b_high, size.expand(n, *size.shape[1:]))

    def backward(self, context: NodeContext, relaxation: Factors, rows: Tensor) -> BackwardBound:
        """Return the rows over a and b."""
        factors = relaxation
        positive, negative = split(rows)
        b_low, b_high = (part.unsqueeze(1).transpose(-1, -2) for part in (factors.b_low, factors.b_high))
        over_a = positive @ b_low + negative @ b_high
        over_b = factors.a_low.unsqueeze(1).transpose(-1, -2) @ rows
        constant = -(dot(positive, factors.at_low) + dot(negative, factors.at_high))
        terms = rows[0, 0].numel() + context.shape(0)[-1] + 8
        error = 4 * BINARY64.gamma(terms) * dot(rows.abs(), factors.size)
        return BackwardBound([_onto(over_a, context.shape(0)), _onto(over_b, context.shape(1))], constant, error)


def outward(curve: Curve, box: Box) -> Box:
    """Return the curve's interval, moved outward by the rounding of its computation."""
    values = curve.interval(box)
    return values.widened(curve.error(box, values, BINARY64))


def _least_magnitude(box: Box) -> Tensor:
    """Return the least absolute value inside, 0 where the sign is not known."""
    return torch.maximum(box.low, -box.high).clamp(min=0.0)


def _same(context: NodeContext) -> bool:
    return context.node.inputs[0] == context.node.inputs[1]


def _onto(rows: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return rows (n, r, *larger) summed onto the axes of `shape`."""
    return summed_to(rows.flatten(0, 1), shape).unflatten(0, rows.shape[:2])
