"""The truth about small piecewise linear networks: all cells on which they are affine, in rational numbers.

A cell is a polytope, kept as its vertices and the constraints that hold with equality at each (double description); a
neuron cuts it in two. No solver and no rounding is involved.

References
----------
Motzkin, Raiffa, Thompson and Thrall, "The double description method" (1953); Fukuda and Prodon, "Double description
method revisited" (1996): two vertices share an edge if no third has all the constraints that both have.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from flint import fmpq
from torch import Tensor

from certificates.small_networks import SmallNetwork
from certificates.soundness import ends
from epsball.ball import Ball

Row = tuple[fmpq, ...]
"""An affine function of x: its coefficients, then its constant."""


@dataclass(frozen=True)
class Polytope:
    """Vertices, and by vertex the constraints that are equations there, as bits; `count` constraints are numbered."""

    vertices: tuple[Row, ...]
    tight: tuple[int, ...]
    count: int

    @classmethod
    def box(cls, low: Sequence[Fraction], high: Sequence[Fraction]) -> "Polytope":
        """Return a box with an interior."""
        sides = [
            tuple((rational(end), 1 << (2 * k + at)) for at, end in enumerate(pair))
            for k, pair in enumerate(zip(low, high, strict=True))
        ]
        corners = list(itertools.product(*sides))
        vertices = tuple(tuple(value for value, _ in corner) for corner in corners)
        return cls(vertices, tuple(sum(bit for _, bit in corner) for corner in corners), 2 * len(low))

    def part(self, row: Row) -> "Polytope | None":
        """Return the part on which an affine function is at least 0, or None if it has no interior."""
        heights = [value_at(row, x) for x in self.vertices]
        if max(heights) <= 0:
            return None
        if min(heights) >= 0:
            return self
        bit, dimension = 1 << self.count, len(self.vertices[0])
        kept = [
            (x, seen | bit if h == 0 else seen)
            for x, seen, h in zip(self.vertices, self.tight, heights, strict=True)
            if h >= 0
        ]
        below = [k for k, h in enumerate(heights) if h < 0]
        for up, down in itertools.product([k for k, h in enumerate(heights) if h > 0], below):
            common = self.tight[up] & self.tight[down]
            if common.bit_count() < dimension - 1 or any(
                common & seen == common for k, seen in enumerate(self.tight) if k not in (up, down)
            ):
                continue
            t = heights[up] / (heights[up] - heights[down])
            pairs = zip(self.vertices[up], self.vertices[down], strict=True)
            kept.append((tuple(a + t * (b - a) for a, b in pairs), common | bit))
        vertices, tight = zip(*kept, strict=True)
        return Polytope(vertices, tight, self.count + 1)

    def least(self, row: Row) -> fmpq:
        """Return the least value of an affine function."""
        return min(value_at(row, x) for x in self.vertices)


@dataclass(frozen=True)
class Cell:
    """A polytope on which a network is affine, whether each neuron is on there, by layer, and its logits."""

    polytope: Polytope
    on: tuple[tuple[bool, ...], ...]
    logits: tuple[Row, ...]


def cells(network: SmallNetwork, x: Tensor, ball: Ball) -> list[Cell]:
    """Return the cells of a network on a linf or l1 ball around x, cut by its box."""
    d = x.numel()
    inputs = [tuple(fmpq(int(k == at)) for k in range(d + 1)) for at in range(d)]
    return list(_cells(network.layers(), domain(x, ball), inputs, ()))


def domain(x: Tensor, ball: Ball) -> Polytope:
    """Return a linf or l1 ball around x, cut by its box."""
    centre = [Fraction(value) for value in x.flatten().tolist()]
    found = Polytope.box(*ends(x.flatten(), ball))
    for signs in itertools.product((1, -1), repeat=len(centre)) if ball.norm == "l1" else ():
        reach = ball.radius + sum(sign * c for sign, c in zip(signs, centre, strict=True))
        found = found.part((*(fmpq(-sign) for sign in signs), rational(reach))) or found
    return found


def margin(cell: Cell, predicted: int, other: int) -> Row:
    """Return z_p - z_j on a cell."""
    return tuple(a - b for a, b in zip(cell.logits[predicted], cell.logits[other], strict=True))


def value_at(row: Row, x: Row) -> fmpq:
    """Return an affine function's value."""
    return sum((a * b for a, b in zip(row, x, strict=False)), row[-1])


def rational(value: Fraction) -> fmpq:
    """Return a fraction in flint's numbers."""
    return fmpq(value.numerator, value.denominator)


def exact(value: float) -> fmpq:
    """Return a finite float as a fraction."""
    return fmpq(*value.as_integer_ratio())


def _cells(
    layers: Sequence[tuple[Tensor, Tensor]],
    polytope: Polytope,
    values: list[Row],
    on: tuple[tuple[bool, ...], ...],
) -> Iterator[Cell]:
    """Yield the cells below one, given all values so far as functions of x."""
    weight, bias = layers[0]
    over = [_composed(row, constant, values) for row, constant in zip(weight.tolist(), bias.tolist(), strict=True)]
    if len(layers) == 1:
        yield Cell(polytope, on, tuple(over))
        return
    nothing = tuple(fmpq(0) for _ in over[0])
    for part, signs in _parts(polytope, over, ()):
        rectified = [row if sign else nothing for row, sign in zip(over, signs, strict=True)]
        yield from _cells(layers[1:], part, [*values, *rectified], (*on, signs))


def _parts(polytope: Polytope, rows: list[Row], signs: tuple[bool, ...]) -> Iterator[tuple[Polytope, tuple[bool, ...]]]:
    """Yield the parts of a polytope by the signs of functions; a function that is 0 on all of it counts as off."""
    if not rows:
        yield polytope, signs
        return
    above = polytope.part(rows[0])
    if above is not None:
        yield from _parts(above, rows[1:], (*signs, True))
    if above is None or above is not polytope:
        below = polytope.part(tuple(-a for a in rows[0])) or polytope
        yield from _parts(below, rows[1:], (*signs, False))


def _composed(weights: list[float], constant: float, values: list[Row]) -> Row:
    """Return sum_k w_k v_k + c."""
    width = len(values[0])
    found = [fmpq(0)] * (width - 1) + [exact(constant)]
    for weight, value in zip(weights, values, strict=True):
        if weight:
            w = exact(weight)
            found = [a + w * b for a, b in zip(found, value, strict=True)]
    return tuple(found)
