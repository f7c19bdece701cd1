"""The derivation: bounds of every node on the ball, then of the margins, from the certificate's slopes alone.

A row of coefficients A claims A . z >= value + A' . z' going from a node to its inputs. Everything a
step loses is charged to the row: |A| times the node's error vector, which holds the rounding of
this checker (float64 arithmetic only) and, under ``float32``, that of the deployed network,

    |computed - exact| <= gamma32(n + 1) (|W| |z| + |b|) + underflow.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from flint import arb

from epsball_replay import lines
from epsball_replay.affine import Affine, affine, pooled
from epsball_replay.arithmetic import Arithmetic, Balls, Floats, gamma
from epsball_replay.files import Certificate, Slopes
from epsball_replay.flow import Flow
from epsball_replay.network import Array, Node, ReplayError
from epsball_replay.region import Region

_ROWS = 64


@dataclass(frozen=True)
class Range:
    """Bounds of a node's value, entry by entry, in float64."""

    low: Array
    high: Array

    @cached_property
    def magnitude(self) -> Array:
        """The greatest absolute value of each entry."""
        return np.maximum(np.abs(self.low), np.abs(self.high))


@dataclass
class Derivation:
    """What is known of each node of one certificate's network on its ball."""

    certificate: Certificate
    ranges: dict[str, Range] = field(default_factory=dict)
    parts: dict[str, Affine] = field(default_factory=dict)
    deployed: dict[str, Array] = field(default_factory=dict)
    underflow: float = 0.0
    """What products below 2^-1074 may cost rows in float64: fewer than 2^70 of them an entry, each of less."""

    @cached_property
    def region(self) -> Region:
        """The ball and its box."""
        return Region(self.certificate.norm, self.certificate.x, self.certificate.radius, self.certificate.box)

    def margins(self) -> dict[int, arb]:
        """Return for each class j but the predicted one a lower bound of z_p - z_j, as a ball."""
        network, p = self.certificate.network, self.certificate.predicted
        for node in network.nodes:
            self._visit(node)
        others = sorted(self.certificate.claims)
        rows = np.zeros((len(others), len(others) + 1))
        rows[:, p] = 1
        rows[np.arange(len(others)), others] = -1
        bounds = self._backward(network.output, rows, self.certificate.final_slopes, Balls())
        return dict(zip(others, bounds.tolist(), strict=True))

    # Ranges

    def _visit(self, node: Node) -> None:
        found = self._range(node)
        if found.low.shape != node.shape or found.high.shape != node.shape:
            raise ReplayError(f"node {node.name} has values of shape {found.low.shape}, not {node.shape}.")
        if not (np.isfinite(found.low).all() and np.isfinite(found.high).all()):
            raise ReplayError(f"the bounds of node {node.name} are not finite.")
        self.ranges[node.name] = found
        self.underflow += 2.0**-1000 * float(found.magnitude.sum() + found.low.size)
        if node.name in self.certificate.refined:
            self.ranges[node.name] = self._refined(node, found)

    def _range(self, node: Node) -> Range:
        if node.kind == "Input":
            return Range(self.region.low, self.region.high)
        found = affine(node, self.certificate.network.parameters, self.ranges)
        if found is not None:
            return self._affine_range(node, found)
        before = self._of(node)
        if node.kind in ("MaxPool", "Max"):
            taps = pooled(node, before.low.shape)
            low, high = (np.append(side.ravel(), -np.inf)[taps].max(axis=1) for side in (before.low, before.high))
            return Range(low.reshape(node.shape), high.reshape(node.shape))
        low, high = lines.extremes(node, before.low, before.high, self.certificate.network.parameters)
        if self.certificate.semantics == "float32":
            magnitude = np.maximum(np.abs(low), np.abs(high))
            self.deployed[node.name] = lines.deployed_error(node, magnitude, self.certificate.assumptions)
        return self._widened(node, low, high, np.zeros(node.shape))

    def _affine_range(self, node: Node, found: Affine) -> Range:
        self.parts[node.name] = found
        centre, spread = found.constant.ravel(), np.zeros(found.constant.size)
        for name, matrix in found.inputs:
            before, size = self.ranges[name], abs(matrix)
            middle = (before.low / 2 + before.high / 2).ravel()
            half = np.maximum(before.high.ravel() - middle, middle - before.low.ravel())
            centre = centre + matrix @ middle
            spread = spread + size @ np.nextafter(half, np.inf)
            found.magnitude = found.magnitude + (size @ before.magnitude.ravel()).reshape(node.shape)
        if self.certificate.semantics == "float32":
            most = max((float(self.ranges[name].magnitude.max()) for name, _ in found.inputs), default=0.0)
            self.deployed[node.name] = found.deployed_error(most)
        if found.moves:
            return self._moved(node, found)
        centre, spread = centre.reshape(node.shape), spread.reshape(node.shape)
        slack = spread * (1 + 1e-12) + gamma(_terms(found) + 8) * found.magnitude
        return self._widened(node, centre, centre, slack * (1 + 1e-12) + 1e-300)

    def _moved(self, node: Node, found: Affine) -> Range:
        """Return bounds of entries that are moved, which costs no rounding."""
        sides = (found.constant.ravel(), found.constant.ravel())
        for name, matrix in found.inputs:
            before = self.ranges[name]
            sides = (sides[0] + matrix @ before.low.ravel(), sides[1] + matrix @ before.high.ravel())
        return Range(*(side.reshape(node.shape) for side in sides))

    def _widened(self, node: Node, low: Array, high: Array, slack: Array) -> Range:
        slack = slack + self.deployed.get(node.name, 0.0)
        return Range(np.nextafter(low - slack, -np.inf), np.nextafter(high + slack, np.inf))

    def _refined(self, node: Node, found: Range) -> Range:
        wanted = np.zeros(node.shape, dtype=bool)
        for consumer in self.certificate.network.nodes:
            if node.name in consumer.inputs:
                wanted |= lines.bends(consumer, found.low, found.high)
        chosen = np.flatnonzero(wanted)
        low, high = found.low.copy().ravel(), found.high.copy().ravel()
        for begin in range(0, len(chosen), _ROWS):
            some = chosen[begin : begin + _ROWS]
            rows = np.zeros((len(some), low.size))
            rows[np.arange(len(some)), some] = 1
            rows = np.concatenate([rows, -rows]).reshape(-1, *node.shape)
            tried = [self._backward(node.name, rows, slopes, Floats()) for slopes in self.certificate.slopes or ({},)]
            bounds = np.max(tried, axis=0)
            low[some] = np.maximum(low[some], bounds[: len(some)])
            high[some] = np.minimum(high[some], -bounds[len(some) :])
        if (low > high).any():
            raise ReplayError(f"the bounds of node {node.name} contradict each other.")
        return Range(low.reshape(node.shape), high.reshape(node.shape))

    def _of(self, node: Node) -> Range:
        return self.ranges[node.inputs[0]]

    # Coefficients, from a node back to the input

    def _backward(self, start: str, rows: Array, slopes: Mapping[str, Slopes], arithmetic: Arithmetic) -> Array:
        nodes = len(self.certificate.network.nodes)
        flow = Flow({start: arithmetic.number(rows)}, len(rows), nodes, arithmetic, lost=np.full(1, self.underflow))
        for node in reversed(self.certificate.network.nodes):
            if node.name not in flow.pending:
                continue
            a = flow.take(node.name, self.ranges[node.name].magnitude)
            if node.kind == "Input":
                flow.close(*self.region.least(a, flow.arithmetic))
                continue
            flow.lose(np.abs(a), self.deployed.get(node.name))
            if node.name in self.parts:
                self._through_affine(node, a, flow)
            elif node.kind in ("MaxPool", "Max"):
                self._through_maximum(node, a, flow)
            else:
                self._through_curve(node, a, slopes, flow)
        return flow.bound()

    def _through_affine(self, node: Node, a: Array, flow: Flow) -> None:
        found = self.parts[node.name]
        flow.lose(np.abs(a), gamma(found.coefficients) * found.magnitude)
        flow.lose(np.abs(a), gamma(_terms(found) + 2, flow.arithmetic.unit) * found.magnitude)
        flow.gain(a, found.constant)
        for name, matrix in found.inputs:
            before = self.ranges[name].magnitude
            flow.give(name, flow.arithmetic.product(a.reshape(len(a), -1), matrix).reshape(-1, *before.shape), before)

    def _through_curve(self, node: Node, a: Array, slopes: Mapping[str, Slopes], flow: Flow) -> None:
        before, parameters = self._of(node), self.certificate.network.parameters
        given = slopes.get(node.name)
        chord = lines.chord(node, before.low, before.high, parameters)
        slope_below = chord if given is None else given.lower
        slope_above = chord if given is None or given.upper is None else given.upper
        below = lines.intercepts(node, slope_below, before.low, before.high, parameters, 1)
        above = lines.intercepts(node, slope_above, before.low, before.high, parameters, -1)
        positive = (a > 0).astype(bool)
        slope = np.where(positive, slope_below, slope_above)
        flow.gain(a, np.where(positive, below, above))
        flow.lose(np.abs(a), gamma(2, flow.arithmetic.unit) * np.abs(slope) * before.magnitude)
        flow.give(node.inputs[0], a * flow.arithmetic.number(slope), before.magnitude)

    def _through_maximum(self, node: Node, a: Array, flow: Flow) -> None:
        before = self._of(node)
        taps = pooled(node, before.low.shape)
        low, high = (np.append(side.ravel(), -np.inf)[taps] for side in (before.low, before.high))
        below, above, slope, intercept = lines.peak(low, high)
        flat = a.reshape(len(a), -1)
        positive = (flat > 0).astype(bool)
        flow.gain(flat, np.where(positive, 0.0, intercept))
        room, size = np.zeros((len(a), before.low.size), dtype=a.dtype), np.zeros((len(a), before.low.size))
        steeper = flat * flow.arithmetic.number(slope)
        for entry, part in (below, np.where(positive, flat, 0 * flat)), (above, np.where(positive, 0 * flat, steeper)):
            where: Any = (slice(None), taps[np.arange(len(taps)), entry])
            np.add.at(room, where, part)
            if flow.arithmetic.unit:
                np.add.at(size, where, np.abs(part))
        flow.lose(size, gamma(taps.shape[1] * 4, flow.arithmetic.unit) * before.magnitude.ravel())
        flow.give(node.inputs[0], room.reshape(len(a), *before.low.shape), before.magnitude)


def _terms(found: Affine) -> int:
    """Return the operations behind one entry of A M or M z, in either direction."""
    columns = [int(np.bincount(matrix.indices).max()) if matrix.nnz else 0 for _, matrix in found.inputs]
    return sum(columns) + sum(int(np.diff(matrix.indptr).max()) for _, matrix in found.inputs) + found.coefficients
