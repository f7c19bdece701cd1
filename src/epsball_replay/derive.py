"""The derivation: bounds of every node on the ball, then of the margins, from the certificate's slopes alone.

A row of coefficients A claims A . z >= value + A' . z' going from a node to its inputs: where A is
positive the node's lower line holds, elsewhere its upper one. Everything a step loses is charged to
the row: |A| times the node's error vector, which holds the rounding of this checker (float64
arithmetic only) and, under ``float32``, that of the deployed network,

    |computed - exact| <= gamma32(n + 1) (|W| |z| + |b|) + underflow.

Any sum here has fewer than N roundings, N being 64 more than twice the entries of all nodes: each entry
gives every row at most two products.
"""

import numpy as np

from epsball_replay import lines
from epsball_replay.affine import affine
from epsball_replay.arithmetic import balls, gamma, lower, positive, settled, times, upper
from epsball_replay.files import Certificate, Slopes
from epsball_replay.network import Array, Node, require
from epsball_replay.region import Region
from epsball_replay.step import Step

_ROWS = 64


class Derivation:
    """What is known of each node of one certificate's network on its ball; entries are flattened."""

    def __init__(self, certificate: Certificate) -> None:
        self.certificate, self.network = certificate, certificate.network
        self.region = Region(certificate.norm, certificate.x, certificate.radius, certificate.box)
        self.ranges: dict[str, tuple[Array, Array]] = {}
        self.sizes: dict[str, Array] = {}
        self.affine: dict[str, Step] = {}
        self.deployed: dict[str, Array] = {}
        roundings = 64 + 2 * sum(node.size for node in self.network.nodes.values())
        require(roundings < 2**30, "the network is larger than the error analysis allows.")
        self.rounding = gamma(roundings)
        # What products below 2^-1074 may cost rows in float64: fewer than 2^70 of them an entry, each of less.
        self.underflow = 0.0

    def margins(self) -> dict[int, float]:
        """Return for each class j but the predicted one a lower bound of z_p - z_j."""
        for node in self.network.nodes.values():
            self._visit(node)
        others = sorted(self.certificate.claims)
        rows = np.zeros((len(others), self.network.output.size))
        rows[:, self.certificate.predicted] = 1
        rows[np.arange(len(others)), others] = -1
        bounds = self._backward(self.network.output, balls(rows), self.certificate.final_slopes)
        return dict(zip(others, bounds.tolist(), strict=True))

    def _visit(self, node: Node) -> None:
        """Bound a node by intervals, then by backward rows those entries at which its consumers bend."""
        self._learn(node, *((self.region.low, self.region.high) if node.kind == "Input" else self._interval(node)))
        self.underflow += 2.0**-1000 * float(self.sizes[node.name].sum() + node.size)
        if node.name in self.certificate.refined:
            self._learn(node, *self._refined(node, *self.ranges[node.name]))

    def _learn(self, node: Node, low: Array, high: Array) -> None:
        require(len(low) == len(high) == node.size, f"node {node.name} has {len(low)} entries, not {node.shape}.")
        known = np.isfinite(low) & np.isfinite(high) & (low <= high)
        require(known.all(), f"the bounds of node {node.name} are not finite, or contradict each other.")
        self.ranges[node.name], self.sizes[node.name] = (low, high), np.maximum(np.abs(low), np.abs(high))

    def _interval(self, node: Node) -> tuple[Array, Array]:
        step = affine(node, self.network, self.ranges)
        if step is not None:
            self.affine[node.name] = step
        step = step or self._lines(node, (np.zeros(node.size), np.zeros(node.size)))
        low, high = step.ranges(self.ranges)
        magnitude, slack = step.magnitude(self.sizes), np.zeros(node.size)
        if not step.exact:
            slack = (self.rounding + gamma(step.extra)) * magnitude + 1e-300
        if self.certificate.semantics == "float32":
            self.deployed[node.name] = step.deployed_error(magnitude, self.sizes)
            slack = slack + self.deployed[node.name]
        ends = np.nextafter(low - slack, -np.inf), np.nextafter(high + slack, np.inf)
        return np.where(slack > 0, ends[0], low), np.where(slack > 0, ends[1], high)

    def _lines(self, node: Node, slopes: tuple[Array | None, Array | None]) -> Step:
        (name,) = node.inputs
        if node.kind in ("MaxPool", "Max"):
            return lines.maximum(node, self.network.nodes[name].shape, *self.ranges[name])
        require(node.kind in ("Elementwise", "PReLU"), f"node {node.name} is a {node.kind}, which is not replayed.")
        require(node.shape == self.network.nodes[name].shape, f"node {node.name} has not the shape of its input.")
        ulps = self.certificate.assumptions["ulps"]
        return lines.curve(node, self.network.parameters, *self.ranges[name], slopes, ulps)

    def _refined(self, node: Node, low: Array, high: Array) -> tuple[Array, Array]:
        consumers = [other for other in self.network.nodes.values() if node.name in other.inputs]
        bent = np.any([lines.bends(other, self.network.parameters, low, high) for other in consumers], axis=0)
        low, high, chosen, given = low.copy(), high.copy(), np.flatnonzero(bent), self.certificate.slopes
        tried = [(chosen[begin : begin + _ROWS], given) for begin in range(0, len(chosen), _ROWS)]
        own = [(some, parts) for name, some, parts in self.certificate.own_slopes if name == node.name]
        for some, choices in tried + [(some, [_with(given[0], parts)]) for some, parts in own]:
            rows = np.zeros((2 * len(some), node.size))
            rows[np.arange(len(rows)), np.tile(some, 2)] = np.repeat((1, -1), len(some))
            bounds = np.max([self._backward(node, rows, slopes) for slopes in choices], axis=0)
            low[some] = np.maximum(low[some], bounds[: len(some)])
            high[some] = np.minimum(high[some], -bounds[len(some) :])
        return low, high

    def _backward(self, start: Node, rows: Array, slopes: Slopes) -> Array:
        """Return a lower bound of A . z at a node for each row, rounded down; in balls if A is."""
        rounding = 0.0 if rows.dtype == object else self.rounding
        pending, value, lost = {start.name: rows}, np.zeros(len(rows)), np.full(len(rows), self.underflow)
        for node in reversed(self.network.nodes.values()):
            if node.name not in pending:
                continue
            a, doubt = settled(pending.pop(node.name))
            lost = lost + (doubt * self.sizes[node.name]).sum(axis=1)
            if node.kind == "Input":
                value = value + self.region.least(a)
                lost = lost + (upper(np.abs(a)) * rounding * self.sizes[node.name]).sum(axis=1)
                continue
            step = self.affine.get(node.name) or self._lines(node, slopes.get(node.name, (None, None)))
            error = (rounding + gamma(step.extra)) * step.magnitude(self.sizes) + self.deployed.get(node.name, 0.0)
            lost = lost + (upper(np.abs(a)) * error).sum(axis=1)
            up = positive(a)
            above_0, below_0 = np.where(up, a, 0), np.where(up, 0, a)
            value = value + (above_0 * step.below + below_0 * step.above).sum(axis=1)
            for name, lower_line, upper_line in step.inputs:
                one = lower_line is upper_line
                given = times(a, lower_line) if one else times(above_0, lower_line) + times(below_0, upper_line)
                pending[name] = pending[name] + given if name in pending else given
        return np.nextafter(lower(value - lost * (1 + 2.0**-20)), -np.inf)


def _with(slopes: Slopes, parts: dict[str, tuple[Array, Array]]) -> Slopes:
    """Return slopes with lower ones of each row's own at some places."""
    found = dict(slopes)
    for name, (at, values) in parts.items():
        lower, upper = slopes[name]
        lower = np.repeat(np.asarray(lower), len(values), axis=0)
        lower[:, at] = values
        found[name] = lower, upper
    return found
