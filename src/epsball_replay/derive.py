"""The derivation: bounds of every node on the ball, then of the margins, from the certificate's slopes alone.

A row of coefficients A claims A . z >= value + A' . z' going from a node to its inputs: where A is
positive the node's lower line holds, elsewhere its upper one. Everything a step loses is charged to
the row: |A| times the node's error vector, which holds the rounding of this checker and, under
``float32``, that of the deployed network,

    |computed - exact| <= gamma32(n + 1) (|W| |z| + |b|) + underflow.

All sums here are of products, in any order. A coefficient of A' sums over one column of L and U, and over the
consumers of a node; a value sums over the entries of a node, and over the nodes: so they have at most 8 roundings more
than there are entries and nodes. Rows are kept at the entries at which they are not 0, those of a neuron at its
receptive field.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from epsball_replay import lines
from epsball_replay.affine import affine
from epsball_replay.arithmetic import gamma
from epsball_replay.files import Certificate, Slopes
from epsball_replay.network import Array, Node, require
from epsball_replay.region import Region
from epsball_replay.step import SMALLEST, Step, joined, through
from epsball_replay.trees import DEEPEST, Leaves, Lines, leaves_of

_ROWS = 64

Progress = Callable[[int, int], None]
"""Called with how many entries of all are bounded."""
Steps = dict[str, tuple[Step, Array]]
"""By node the step through it, and what it loses entry by entry."""
Own = dict[str, Lines]
"""By node the lines of each row's own."""


@dataclass(frozen=True)
class Choice:
    """Slopes of all nonlinear nodes, and the steps through them that were needed so far."""

    slopes: Slopes
    steps: Steps = field(default_factory=dict)


class Derivation:
    """What is known of each node of one certificate's network on its ball; entries are flattened."""

    def __init__(self, certificate: Certificate, progress: Progress = lambda done, total: None) -> None:
        self.certificate, self.network, self.progress = certificate, certificate.network, progress
        self.region = Region(certificate.norm, certificate.x, certificate.radius, certificate.box)
        self.ranges: dict[str, tuple[Array, Array]] = {}
        self.sizes: dict[str, Array] = {}
        self.affine: Steps = {}
        self.deployed: dict[str, Array] = {}
        self.choices = [Choice(slopes) for slopes in certificate.slopes]
        nodes = self.network.nodes.values()
        self.entries = sum(node.size for node in nodes)
        require(self.entries < 2**28, "the network is larger than the error analysis allows.")
        self.more = 8 + len(nodes)
        # What products below 2^-1074 may cost rows: fewer than 2^70 of them an entry, each of less.
        self.underflow = 0.0
        self.float32 = certificate.semantics == "float32"

    def margins(self) -> dict[int, float]:
        """Return for each class j but the predicted one a lower bound of z_p - z_j."""
        done = 0
        for node in self.network.nodes.values():
            self._visit(node, done)
            done += node.size
            self.progress(done, self.entries)
        others = sorted(self.certificate.claims)
        rows = np.zeros((len(others), self.network.output.size))
        rows[:, self.certificate.predicted] = 1
        rows[np.arange(len(others)), others] = -1
        classes = np.arange(self.network.output.size)
        choice = Choice(self.certificate.final_slopes)
        bounds = self._backward(self.network.output, classes, rows, choice, Leaves(len(rows)))
        for j, tree in self.certificate.trees.items():
            at, least = others.index(j), np.inf
            for leaves in leaves_of(tree, self.network, self.ranges, self.region, self._above):
                row = np.tile(rows[at], (leaves.count, 1))
                least = min(least, self._backward(self.network.output, classes, row, choice, leaves).min())
            bounds[at] = max(bounds[at], least)
        if self.float32:
            # A subnormal may be flushed to zero wherever entries are only moved, chosen or compared.
            bounds = np.nextafter(bounds - 8 * SMALLEST, -np.inf)
        return dict(zip(others, bounds.tolist(), strict=True))

    def _visit(self, node: Node, done: int) -> None:
        """Bound a node by intervals, then by backward rows those entries at which its consumers bend."""
        self._learn(node, *((self.region.low, self.region.high) if node.kind == "Input" else self._interval(node)))
        self.underflow += 2.0**-1000 * float(self.sizes[node.name].sum() + node.size)
        if node.name in self.certificate.refined:
            self._learn(node, *self._refined(node, *self.ranges[node.name], done))

    def _learn(self, node: Node, low: Array, high: Array) -> None:
        require(len(low) == len(high) == node.size, f"node {node.name} has {len(low)} entries, not {node.shape}.")
        known = np.isfinite(low) & np.isfinite(high) & (low <= high)
        require(known.all(), f"the bounds of node {node.name} are not finite, or contradict each other.")
        self.ranges[node.name], self.sizes[node.name] = (low, high), np.maximum(np.abs(low), np.abs(high))

    def _interval(self, node: Node) -> tuple[Array, Array]:
        step = affine(node, self.network, self.ranges, float32=self.float32)
        flat = step or self._lines(node, (np.zeros(node.size), np.zeros(node.size)))
        low, high = (side.reshape(-1) for side in flat.ranges(self.ranges))
        magnitude = flat.magnitude(self.sizes).reshape(-1)
        if self.float32:
            self.deployed[node.name] = flat.deployed_error(magnitude, self.sizes)
        slack = self.deployed.get(node.name, np.zeros(node.size))
        if not flat.exact:
            slack = slack + gamma(flat.terms + flat.extra + self.more) * magnitude + 1e-300
        if step is not None:
            self.affine[node.name] = step, self._loss(node, step)
        ends = np.nextafter(low - slack, -np.inf), np.nextafter(high + slack, np.inf)
        return np.where(slack > 0, ends[0], low), np.where(slack > 0, ends[1], high)

    def _lines(self, node: Node, slopes: tuple[Array | None, Array | None]) -> Step:
        require(
            node.kind not in ("Multiply", "Divide"),
            f"node {node.name}, a {node.kind} of {' and '.join(node.inputs)}, is not replayed: a factor or the divisor "
            "must be constant on the ball. Certify without certificate files, or write the network without that node.",
        )
        (name,) = node.inputs
        if node.kind in ("MaxPool", "Max"):
            return lines.maximum(node, self.network.nodes[name].shape, *self.ranges[name])
        require(node.shape == self.network.nodes[name].shape, f"node {node.name} has not the shape of its input.")
        ulps = self.certificate.assumptions["ulps"]
        return lines.curve(node, self.network.parameters, *self.ranges[name], slopes, ulps)

    def _loss(self, node: Node, step: Step, entries: Any = slice(None)) -> Array:
        """Return what a row of ones would lose in a step, at some entries."""
        sizes = {name: self.sizes[name][entries] for name in node.inputs}
        rounding = gamma(step.terms + step.extra + self.more) * step.magnitude(sizes)
        return rounding + gamma(node.size) * step.size + self.deployed.get(node.name, np.zeros(node.size))[entries]

    def _step(self, node: Node, entries: Array, choice: Choice, own: Own) -> tuple[Step, Array]:
        """Return the step through a node at some entries, and what it loses there."""
        known = self.affine if node.name in self.affine else choice.steps
        if node.name not in known:
            step = self._lines(node, choice.slopes.get(node.name, (None, None)))
            known[node.name] = step, self._loss(node, step)
        whole, loss = known[node.name]
        step = whole.at(entries)
        if known is self.affine or node.name not in own:
            return step, loss[..., entries]
        given, ((name, *slopes),) = own[node.name], step.inputs
        inside, ends = np.isin(given.at, entries), [step.below, step.above]
        at, low, high = given.at[inside], given.low[..., inside], given.high[..., inside]
        for side, chosen in enumerate((given.below, given.above)):
            if chosen is not None:
                slopes[side], ends[side] = (np.repeat(part, len(chosen), axis=0) for part in (slopes[side], ends[side]))
                lines_at, columns = chosen[:, inside], np.searchsorted(entries, at)
                slopes[side][:, columns], sign = lines_at, 1 - 2 * side
                ends[side][:, columns] = lines.intercepts(node, lines_at, low, high, self.network.parameters, sign, at)
        size = np.maximum(*map(np.abs, ends))
        step = replace(step, inputs=[(name, *slopes)], below=ends[0], above=ends[1], size=size)
        return step, self._loss(node, step, entries)

    def _refined(self, node: Node, low: Array, high: Array, done: int) -> tuple[Array, Array]:
        consumers = [other for other in self.network.nodes.values() if node.name in other.inputs]
        bent = np.any([lines.bends(other, self.network.parameters, low, high) for other in consumers], axis=0)
        low, high, blocks = low.copy(), high.copy(), list(self._blocks(node, np.flatnonzero(bent)))
        for number, (some, choices, own) in enumerate(blocks):
            rows = np.repeat((1.0, -1.0), len(some))[:, None] * np.tile(np.eye(len(some)), (2, 1))
            bounds = np.max([self._backward(node, some, rows, choice, own) for choice in choices], axis=0)
            low[some] = np.maximum(low[some], bounds[: len(some)])
            high[some] = np.minimum(high[some], -bounds[len(some) :])
            self.progress(done + node.size * number // len(blocks), self.entries)
        return low, high

    def _blocks(self, node: Node, bent: Array) -> Iterator[tuple[Array, list[Choice], Leaves]]:
        """Yield entries that are bounded together, the choices of slopes that are tried, and slopes of their own."""
        for block in _together(node, bent):
            yield bent[block], self.choices, Leaves(2 * len(block))
        for name, numbers, parts in self.certificate.own_slopes:
            for block in _together(node, numbers) if name == node.name else ():
                rows = np.concatenate([block, len(numbers) + block])
                own = {}
                for key, (at, slopes) in parts.items():
                    ends = (side[at] for side in self.ranges[self.network.nodes[key].inputs[0]])
                    own[key] = Lines(at, slopes[rows], None, *ends)
                yield numbers[block], self.choices[:1], Leaves(len(rows), own)

    def _above(self, node: Node) -> tuple[Array, Array, Array]:
        """Return entries of a node and functions of the input above them, a . x + a0, by slopes of their own."""
        found = [(np.zeros(0, dtype=int), np.zeros((0, self.network.input.size)), np.zeros(0))]
        for some, choices, leaves in self._blocks(node, np.zeros(0, dtype=int)):
            (entries, a), value, lost = self._carried(
                node, some, -np.tile(np.eye(len(some)), (2, 1)), choices[0], leaves
            )
            dense = np.zeros((len(some), self.network.input.size))
            dense[:, entries] = -a[len(some) :]
            found.append((some, dense, np.nextafter(lost * (1 + 2.0**-20) - value, np.inf)[len(some) :]))
        return tuple(map(np.concatenate, zip(*found, strict=True)))  # pyright: ignore[reportReturnType]

    def _backward(self, start: Node, entries: Array, rows: Array, choice: Choice, leaves: Leaves) -> Array:
        """Return a lower bound of A . z for each row A, given at some entries of a node, rounded down."""
        (entries, a), value, lost = self._carried(start, entries, rows, choice, leaves)
        value = value + self.region.least(a, entries)
        name, size = self.network.input.name, self.network.input.size
        lost = lost + np.abs(a) @ (gamma(size + self.more) * self.sizes[name][entries])
        bound = np.nextafter(value - lost * (1 + 2.0**-20), -np.inf)
        # What overflowed on the way proves nothing.
        return np.where(np.isfinite(value) & np.isfinite(lost), bound, -np.inf)

    def _carried(
        self, start: Node, entries: Array, rows: Array, choice: Choice, leaves: Leaves
    ) -> tuple[tuple[Array, Array], Array, Array]:
        """Return rows over the input that with a value, less what is lost, are below A . z for each row A."""
        pending, value = {start.name: (entries, rows)}, np.zeros(len(rows)) + leaves.push
        lost = self.underflow + gamma(DEEPEST + 8) * (np.zeros(len(rows)) + leaves.size)
        source = self.network.input.name

        def add(name: str, given: tuple[Array, Array]) -> None:
            pending[name] = joined(pending[name], given) if name in pending else given

        for node in reversed(self.network.nodes.values()):
            if node.name in leaves.pulls:
                at, pull = leaves.pulls[node.name]
                add(node.name, (at, -pull))
            if node.name not in pending or node.name == source:
                continue
            entries, a = pending.pop(node.name)
            if node.name in leaves.envelopes:
                over = leaves.envelopes[node.name]
                inside = np.isin(over.at, entries)
                columns = np.searchsorted(entries, over.at[inside])
                shared, a = np.minimum(a[:, columns], 0) * over.shares[:, inside], a.copy()
                a[:, columns] -= shared
                value = value + shared @ over.h[inside]
                lost = lost + np.abs(shared) @ (gamma(len(over.at) + self.more) * over.size[inside])
                add(source, (np.arange(self.network.input.size), shared @ over.g[inside]))
            step, loss = self._step(node, entries, choice, leaves.lines)
            lost = lost + (np.abs(a) * loss).sum(axis=1)
            above_0, below_0 = np.maximum(a, 0), np.minimum(a, 0)
            value = value + (above_0 * step.below + below_0 * step.above).sum(axis=1)
            for name, lower_line, upper_line in step.inputs:
                if lower_line is upper_line:
                    add(name, through(a, entries, lower_line))
                else:
                    add(name, joined(through(above_0, entries, lower_line), through(below_0, entries, upper_line)))
        return pending.get(source, (np.zeros(0, dtype=int), np.zeros((len(rows), 0)))), value, lost


def _together(node: Node, entries: Array) -> list[Array]:
    """Return which of some entries are bounded together: all channels of a few places, whose rows reach the same."""
    order = np.argsort(entries % (node.size // node.shape[0]), kind="stable")
    blocks = (order[begin : begin + _ROWS] for begin in range(0, len(order), _ROWS))
    return [block[np.argsort(entries[block])] for block in blocks]
