"""Everything that is claimed of a random small network, held against its exact minima: bounds, oracles, parts."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import torch
from flint import fmpq
from torch import Tensor

from certificates.enumeration import Cell, cells, exact, margin
from certificates.small_networks import SmallNetwork, small_network
from epsball.ball import Ball
from epsball.certificates import FLOAT32, METHODS, REAL, Arithmetic, Domain, Problem, complete, lp, milp
from epsball.certificates.branching.example import Example
from epsball.certificates.branching.search.search import Part, Search
from epsball.errors import UnsupportedOperation
from epsball.graph import Graph, capture
from epsball.graph.kinds import Elementwise

RADII = ("1/4", "1/2", "3/4", "1")
GAP, NEAR, EXACT = 1e-7, 1e-5, 1e-6
"""The gap `complete` is run to, how near it and the oracle come to the truth, and a program without a free neuron."""

SEARCHED = 1e-9
"""What bounds of the search in float64, which are no claims, may lie above the truth."""


@dataclass(frozen=True)
class Seen:
    """A part of a tree: its row, the neurons it is cut at as (layer, entry, sign), its bound, and whether proved."""

    row: int
    path: tuple[tuple[int, int, int], ...]
    bound: float
    proved: bool


@dataclass(frozen=True, eq=False)
class Case:
    """A network, a ball around a point, the predicted class, and the network's cells there."""

    network: SmallNetwork
    graph: Graph
    x: Tensor
    ball: Ball
    predicted: int
    cells: Sequence[Cell]

    @classmethod
    def of(cls, network: SmallNetwork, x: Tensor, ball: Ball) -> "Case":
        """Return the case of a point."""
        graph = capture(network, network.shape)
        return cls(network, graph, x, ball, int(graph(x).argmax()), cells(network, x, ball))

    @classmethod
    def random(cls, seed: int) -> "Case":
        """Return a random network and point; every fourth ball is of l1, half of all are cut by the box [0, 1]."""
        network, norm = small_network(seed), "l1" if seed % 4 == 3 else "linf"
        x = torch.rand(1, *network.shape, generator=torch.Generator().manual_seed(seed))
        limits = (0.0, 1.0) if seed % 8 < 4 else (None, None)
        return cls.of(network, x, Ball(norm, Fraction(RADII[seed // 4 % 4]), *limits))

    def problem(self, arithmetic: Arithmetic) -> Problem:
        """Return the problem of bounding the margins."""
        domain = Domain.of(self.ball, self.x)
        return Problem.of(self.graph, domain, torch.tensor([self.predicted]), arithmetic=arithmetic)

    def least(self, row: int, path: Sequence[tuple[int, int, int]] = ()) -> fmpq | None:
        """Return the least value of a row where the neurons of a path have its signs; None where no cell has them."""
        found = [
            least
            for cell, least in zip(self.cells, self._minima[row], strict=True)
            if all(cell.on[layer][entry] == (sign > 0) for layer, entry, sign in path)
        ]
        return min(found, default=None)

    @cached_property
    def _minima(self) -> list[list[fmpq]]:
        """The least value on each cell, by row."""
        others = [other for other in range(self.graph.classes) if other != self.predicted]
        return [[cell.polytope.least(margin(cell, self.predicted, other)) for cell in self.cells] for other in others]

    def computed(self) -> Tensor:
        """Return the least margins by row that the deployed network has at vertices of cells and at random points."""
        corners = {x for cell in self.cells for x in cell.polytope.vertices}
        points = torch.tensor([[float(value) for value in map(_fraction, x)] for x in corners])
        noise = torch.rand(64, points.shape[1], generator=torch.Generator().manual_seed(0))
        points = torch.cat([points, self.x.flatten() + float(self.ball.radius) * (2 * noise - 1)])
        points = points.view(-1, *self.network.shape)
        logits = self.graph(self.ball.project(points, self.x.expand_as(points).contiguous())).double()
        margins = logits[:, self.predicted, None] - logits
        return margins[:, torch.arange(logits.shape[1]) != self.predicted].amin(dim=0)


def check(seed: int) -> dict[str, int]:
    """Raise where something claimed of a random network is not true; return how much was compared."""
    case = Case.random(seed)
    truth = [case.least(row) for row in range(case.graph.classes - 1)]
    parts, minima = check_parts(case, truth)
    return {
        "cells": len(case.cells),
        "bounds": check_bounds(case, truth),
        "minima": minima,
        "parts": parts,
        "fixed": check_fixed(case),
    }


def check_bounds(case: Case, truth: Sequence[fmpq]) -> int:
    """Hold every method, under every claim, against the least margins and against what float32 computes."""
    compared, computed = 0, case.computed().tolist()
    for arithmetic in (REAL, FLOAT32):
        for name, method in METHODS.items():
            try:
                rows = method(case.problem(arithmetic)).rows[0].tolist()
            except UnsupportedOperation:  # a ball that the method says it does not cover
                continue
            for value, least, there in zip(rows, truth, computed, strict=True):
                compared += 1
                _require(_below(value, least), f"{name} ({arithmetic.name}) claims {value!r} of a minimum of {least}")
                if arithmetic is FLOAT32:
                    _require(value <= there, f"{name} claims {value!r}, but float32 computes {there!r}")
    return compared


def check_parts(case: Case, truth: Sequence[fmpq]) -> tuple[int, int]:
    """Hold every part of every tree against its own least margin: searched to a gap, and proved under both claims.

    Returns
    -------
    tuple
        How many parts were compared, and how many minima (`check_minima`).
    """
    parts = minima = 0
    for arithmetic, gap in ((REAL, GAP), (REAL, None), (FLOAT32, None)):
        with recorded(case.graph) as seen:
            rows = complete(case.problem(arithmetic), gap=gap).rows[0].tolist()
        if gap is not None:
            minima = check_minima(case, truth, rows)
        for part in seen:
            if not part.proved and gap is None:
                continue  # a search in float32 claims nothing
            least = case.least(part.row, part.path)
            if least is not None:
                value = part.bound if part.proved else part.bound - SEARCHED
                parts += 1
                _require(_below(value, least), f"{part} ({arithmetic.name}) has the minimum {float(_fraction(least))}")
    return parts, minima


def check_minima(case: Case, truth: Sequence[fmpq], rows: Sequence[float]) -> int:
    """Hold the rows that `complete` comes to, run to a gap, and the oracle's against the least margins."""
    compared = 0
    if case.ball.norm == "l1" and case.ball.low is not None:
        return 0  # over a ball cut by a box, bounds of linear functions are the better of both, not exact
    found = {"complete": rows}
    if case.ball.norm == "linf":
        [oracle] = milp(case.problem(REAL))
        found |= {"milp": oracle.value.tolist(), "milp's bound": oracle.bound.tolist()}
    for name, values in found.items():
        for value, least in zip(values, truth, strict=True):
            compared += 1
            _require(abs(value - float(_fraction(least))) <= NEAR, f"{name} finds {value!r}, not {least}")
    return compared


def check_fixed(case: Case) -> int:
    """Hold the linear program against the truth on a ball so small that every neuron is fixed."""
    for exponent in range(3, 9):
        small = Case.of(case.network, case.x, Ball(case.ball.norm, Fraction(1, 10**exponent)))
        if len(small.cells) == 1:
            rows = lp(small.problem(REAL)).rows[0].tolist()
            for row, value in enumerate(rows):
                least = small.least(row)
                gap = float(_fraction(least - exact(value)))
                _require(0 <= gap <= EXACT, f"lp is {gap} below the minimum {least} of an affine function")
            return len(rows)
    return 0


@contextmanager
def recorded(graph: Graph) -> Iterator[list[Seen]]:
    """Record every part that searches make and every bound that is proved of one."""
    layer = {node.inputs[0]: number for number, node in enumerate(_rectifiers(graph))}
    made, proved, seen = Search._part, Example.proved, []
    bounded: list[Part] = []

    def making(*arguments) -> Part:
        bounded.append(made(*arguments))
        return bounded[-1]

    def proving(example: Example, parts: Sequence[Part]) -> Tensor:
        values = proved(example, parts)
        for part, value in zip(parts, values.tolist(), strict=True):
            seen.append(Seen(part.row, _path(part, example, layer), value, proved=True))
        # The searches' own bounds, by the numbering of rectifiers that the example has.
        seen.extend(Seen(part.row, _path(part, example, layer), part.bound, proved=False) for part in bounded)
        bounded.clear()
        return values

    Search._part, Example.proved = making, proving
    try:
        yield seen
    finally:
        Search._part, Example.proved = made, proved


def _path(part: Part, example: Example, layer: Mapping[str, int]) -> tuple[tuple[int, int, int], ...]:
    splits = [(example.units[unit], sign) for unit, sign in part.path]
    return tuple((layer[split.node], split.entry, sign) for split, sign in splits)


def _rectifiers(graph: Graph) -> list:
    return [node for node in graph.nodes if isinstance(node.kind, Elementwise) and node.kind.function == "relu"]


def _below(value: float, least: fmpq) -> bool:
    """Return whether a float is at most a rational number, exactly."""
    return value == -torch.inf or (value < torch.inf and exact(value) <= least)


def _fraction(value: fmpq) -> Fraction:
    return Fraction(int(value.p), int(value.q))


def _require(holds: bool, said: str) -> None:
    if not holds:
        raise AssertionError(said)
