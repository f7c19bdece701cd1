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
from dataclasses import replace
from typing import Any

import numpy as np

from epsball_replay import lines, trees
from epsball_replay.affine import affine
from epsball_replay.arithmetic import gamma
from epsball_replay.files import Certificate, Slopes, numbers, places, slopes_from
from epsball_replay.network import Array, Node, require
from epsball_replay.region import Region
from epsball_replay.step import SMALLEST, Step, joined, through
from epsball_replay.trees import DEEPEST, Ends, Envelope, Leaves, Lines, Ranges, leaves_of, rows_of, slopes_of

_ROWS = 64

Progress = Callable[[int, int], None]
"""Called with how many entries of all are bounded."""


def silent(done: int, total: int) -> None:
    """Show nothing."""


Steps = dict[str, tuple[Step, Array]]
"""By node the step through it, and what it loses entry by entry."""
Choice = tuple[Slopes, Steps]
"""Slopes of all nonlinear nodes, and the steps through them that were needed so far."""


class Derivation:
    """What is known of each node of one certificate's network on its ball; entries are flattened.

    With bounds that hold inside a part of the ball it is about that part.
    """

    def __init__(self, certificate: Certificate, progress: Progress = silent, inside: Ranges | None = None) -> None:
        self.certificate, self.network, self.progress = certificate, certificate.network, progress
        region = Region(certificate.norm, certificate.x, certificate.radius, certificate.box)
        self.region, self.inside = region, inside or {}
        region.low, region.high = self.inside.get(self.network.input.name, (region.low, region.high))
        self.ranges, self.affine, self.sizes, self.deployed = Ranges(), Steps(), dict[str, Array](), dict[str, Array]()
        self.choices: list[Choice] = [(slopes, {}) for slopes in certificate.slopes]
        nodes = self.network.nodes.values()
        self.entries = sum(node.size for node in nodes)
        require(self.entries < 2**28, "the network is larger than the error analysis allows.")
        # Underflow is what products below 2^-1074 may cost rows: fewer than 2^70 of them an entry, each of less.
        self.more, self.underflow = 8 + len(nodes), 0.0
        self.float32 = certificate.semantics == "float32"
        # A subnormal may be flushed to zero wherever entries are only moved, chosen or compared.
        self.flushed = 8 * SMALLEST * self.float32

    def margins(self, leaf: Leaves | None = None) -> dict[int, float]:
        """Return a lower bound of each claim's linear function of the outputs, in a leaf where its constraints hold."""
        for node in self.network.nodes.values():
            self._visit(node)
            self.progress(sum(len(known) for known in self.sizes.values()), self.entries)
        names, rows = list(self.certificate.rows), np.array(list(self.certificate.rows.values()))
        output, entries = self.network.output, np.arange(self.network.output.size)
        choice: Choice = (self.certificate.final_slopes, {})
        bounds = self._backward(output, entries, rows, choice, leaf or Leaves())
        for j, tree in self.certificate.trees.items():
            at, claim = names.index(j), self.certificate.claims[j] if "conditional" in tree else np.inf
            if "pieces" in tree:
                bounds[at] = max(bounds[at], min(self._by_pieces(tree, rows[at])))
                continue
            over = [self._envelopes(tree, given) for given in (tree["envelopes"], *tree.get("further", ()))]
            ranges = self._conditional(tree, over[0], rows[at], claim, choice)
            parts = leaves_of(tree, self.network, ranges, over)
            found = [self._backward(output, entries, np.tile(rows[at], (len(p.push), 1)), choice, p) for p in parts]
            bounds[at] = max(bounds[at], min(np.concatenate(found).min(), claim))
        return dict(zip(names, bounds.tolist(), strict=True))

    def _by_pieces(self, tree: Any, row: Array) -> Iterator[float]:
        """Yield a lower bound of a row on every leaf: each node is bounded anew there, by the slopes of a piece."""
        pieces, (paths, multipliers, used) = tree["pieces"], trees.paths_of(tree, self.network)
        require(set(used) == set(range(len(pieces))), "a tree's leaves use other pieces than it has.")
        for path, betas, at in zip(paths, multipliers, used, strict=True):
            own, final = (slopes_from(pieces[at][key], self.network, (1,)) for key in ("slopes", "final"))
            given: Any = {"refined": frozenset(pieces[at]["refined"]), "slopes": [own], "final_slopes": own | final}
            part = replace(self.certificate, **given, own_slopes=[], trees={}, rows={0: row}, claims={0: 0.0})
            inside = trees.narrowed(self.ranges, path)
            yield Derivation(part, inside=inside).margins(rows_of([path], [betas], {}, self.network, inside, {}))[0]

    def _conditional(self, tree: Any, over: dict[str, Envelope], row: Array, claim: float, choice: Choice) -> Ranges:
        """Return bounds of every node where row . y <= claim, y the outputs: z >= z + mu (row . y - claim) there.

        If the leaves then show row . y >= claim, it holds everywhere.
        """
        ranges, output = self.ranges, self.network.output
        for part in tree.get("conditional", ()):
            node, mu = self.network.nodes[part["node"]], numbers(part["multipliers"], "<f8")
            at = places(part["numbers"], node.name, self.network)
            require(len(mu) == 2 * len(at) and (mu >= 0).all(), "a condition has not one multiplier >= 0 per row.")
            slopes = slopes_of(part["slopes"], tree, self.network, len(mu))
            own = rows_of([()] * len(mu), [mu[:0]] * len(mu), slopes, self.network, ranges, over)
            own.pulls[output.name] = np.arange(output.size), -mu[:, None] * row
            # The products of mu are rounded.
            size = mu * (abs(claim) + np.abs(row) @ self.sizes[output.name])
            low, high = self._narrowed(node, at, ranges[node.name], [choice], replace(own, push=-mu * claim, size=size))
            # Bounds that contradict each other show that the condition is nowhere met: then any hold.
            ranges = ranges | {node.name: (low, np.maximum(low, high))}
        return ranges

    def _visit(self, node: Node) -> None:
        """Bound a node by intervals, then by backward rows those entries at which its consumers bend."""
        self._learn(node, *((self.region.low, self.region.high) if node.kind == "Input" else self._interval(node)))
        self.underflow += 2.0**-1000 * float(self.sizes[node.name].sum() + node.size)
        if node.name in self.certificate.refined:
            self._learn(node, *self._refined(node, *self.ranges[node.name]))

    def _learn(self, node: Node, low: Array, high: Array) -> None:
        require(len(low) == len(high) == node.size, f"node {node.name} has {len(low)} entries, not {node.shape}.")
        least, most = self.inside.get(node.name, (-np.inf, np.inf))
        # Where bounds contradict each other inside a part, no point is in it, and any bounds hold.
        low, high = np.clip(low, least, most), np.clip(high, np.clip(low, least, most) if self.inside else least, most)
        known = np.isfinite(low) & np.isfinite(high) & (low <= high)
        require(known.all(), f"the bounds of node {node.name} are not finite, or contradict each other.")
        self.ranges[node.name], self.sizes[node.name] = (low, high), np.maximum(np.abs(low), np.abs(high))

    def _interval(self, node: Node) -> tuple[Array, Array]:
        step = affine(node, self.network, self.ranges, float32=self.float32)
        flat = step or self._lines(node, (np.zeros(node.size), np.zeros(node.size)))
        low, high = (side.reshape(-1) for side in flat.ranges(self.ranges))
        magnitude = flat.magnitude(self.sizes).reshape(-1)
        slack = flat.deployed_error(magnitude, self.sizes) if self.float32 else np.zeros(node.size)
        self.deployed[node.name] = slack
        if not flat.exact:
            slack = slack + gamma(flat.terms + flat.extra + self.more) * magnitude + 1e-300
        if step is not None:
            self.affine[node.name] = step, self._loss(node, step)
        ends = np.nextafter(low - slack, -np.inf), np.nextafter(high + slack, np.inf)
        return np.where(slack > 0, ends[0], low), np.where(slack > 0, ends[1], high)

    def _lines(self, node: Node, slopes: tuple[Array | None, Array | None]) -> Step:
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
        return rounding + gamma(node.size) * step.size + self.deployed[node.name][entries]

    def _step(self, node: Node, entries: Array, choice: Choice, own: dict[str, Lines]) -> tuple[Step, Array]:
        """Return the step through a node at some entries, and what it loses there."""
        known = self.affine if node.name in self.affine else choice[1]
        if node.name not in known:
            step = self._lines(node, choice[0].get(node.name, (None, None)))
            known[node.name] = step, self._loss(node, step)
        whole, loss = known[node.name]
        step = whole.at(entries)
        if known is self.affine or node.name not in own:
            return step, loss[..., entries]
        given, ((name, *slopes),) = own[node.name], step.inputs
        inside, ends = np.isin(given.at, entries), [step.below, step.above]
        at, low, high = given.at[inside], given.low[..., inside], given.high[..., inside]
        for side, (sign, chosen) in enumerate(((1, given.below), (-1, given.above))):
            if chosen is not None:
                slopes[side], ends[side] = (np.repeat(part, len(chosen), axis=0) for part in (slopes[side], ends[side]))
                new, columns = chosen[:, inside], np.searchsorted(entries, at)
                slopes[side][:, columns] = new
                ends[side][:, columns] = lines.intercepts(node, new, low, high, self.network.parameters, sign, at)
        size = np.maximum(*map(np.abs, ends))
        step = replace(step, inputs=[(name, *slopes)], below=ends[0], above=ends[1], size=size)
        return step, self._loss(node, step, entries)

    def _refined(self, node: Node, low: Array, high: Array) -> tuple[Array, Array]:
        consumers = [other for other in self.network.nodes.values() if node.name in other.inputs]
        bent = np.any([lines.bends(other, self.network.parameters, low, high) for other in consumers], axis=0)
        for some, choices, own in self._blocks(node, np.flatnonzero(bent)):
            low, high = self._narrowed(node, some, (low, high), choices, own)
        return low, high

    def _narrowed(self, node: Node, some: Array, sides: Ends, choices: list[Choice], own: Leaves) -> Ends:
        """Return bounds of a node, those of some entries by rows for each choice of slopes where these are better."""
        rows = np.repeat((1.0, -1.0), len(some))[:, None] * np.tile(np.eye(len(some)), (2, 1))
        bounds = np.max([self._backward(node, some, rows, choice, own) for choice in choices], axis=0)
        low, high = (side.copy() for side in sides)
        low[some], high[some] = np.maximum(low[some], bounds[: len(some)]), np.minimum(high[some], -bounds[len(some) :])
        return low, high

    def _blocks(self, node: Node, bent: Array) -> Iterator[tuple[Array, list[Choice], Leaves]]:
        """Yield entries that are bounded together, the choices of slopes that are tried, and slopes of their own."""
        for block in _together(node, bent):
            yield bent[block], self.choices, Leaves()
        for name, owners, parts in self.certificate.own_slopes:
            for block in _together(node, owners) if name == node.name else ():
                rows = np.concatenate([block, len(owners) + block])
                ends = {key: self.ranges[self.network.nodes[key].inputs[0]] for key in parts}
                own = {key: Lines(at, s[rows], None, *(e[at] for e in ends[key])) for key, (at, s) in parts.items()}
                yield owners[block], self.choices[:1], Leaves(own)

    def _envelopes(self, tree: Any, given: Any) -> dict[str, Envelope]:
        return {name: self._envelope(tree, self.network.nodes[name], text) for name, text in given.items()}

    def _envelope(self, tree: Any, node: Node, levels: str) -> Envelope:
        """Return functions g . x + h above entries of a ReLU, with g = level / 255 a for a . x + a0 above its input.

        For z <= a . x + a0 on the ball and any g, relu(z) <= g . x + max(a0 + max (a - g) . x, max -g . x). The row
        that bounds a neuron from above, with slopes of its own, is such a function.
        """
        require(node.attributes.get("function") == "relu", f"node {node.name} is not a ReLU: it has no envelopes.")
        source, above = self.network.nodes[node.inputs[0]], {}
        at = places(tree["slopes"][node.name]["at"], node.name, self.network)
        for some, choices, leaves in self._blocks(source, np.zeros(0, dtype=int)):
            rows = -np.tile(np.eye(len(some)), (2, 1))
            (entries, found), value, lost = self._carried(source, (some, rows), choices[0], leaves)
            a = np.zeros((len(rows), self.region.x.size))
            a[:, entries] = -found
            a0 = np.nextafter(lost * (1 + 2.0**-20) - value, np.inf)
            above |= {entry: (a[row], a0[row]) for row, entry in enumerate(some.tolist(), start=len(some))}
        a, a0 = (np.array(part) for part in zip(*(above[entry] for entry in at.tolist()), strict=True))
        g = numbers(levels, "u1").reshape(a.shape) / 255 * a
        most, entries = self.sizes[self.network.input.name], np.arange(a.shape[1])
        h = np.maximum(a0 - self.region.least(g - a, entries), -self.region.least(g, entries))
        h += 2 * gamma(len(most) + 16) * ((np.abs(a) + np.abs(g)) @ most + np.abs(a0)) + 1e-300
        return g, h, np.abs(g) @ most + np.abs(h)

    def _backward(self, start: Node, entries: Array, rows: Array, choice: Choice, leaves: Leaves) -> Array:
        """Return a lower bound of A . z for each row A, given at some entries of a node, rounded down."""
        (entries, a), value, lost = self._carried(start, (entries, rows), choice, leaves)
        value = value + self.region.least(a, entries)
        most = self.sizes[self.network.input.name]
        lost = lost + np.abs(a) @ (gamma(len(most) + self.more) * most[entries])
        bound = np.nextafter(value - lost * (1 + 2.0**-20) - self.flushed, -np.inf)
        # What overflowed on the way proves nothing.
        return np.where(np.isfinite(value) & np.isfinite(lost), bound, -np.inf)

    def _carried(self, start: Node, rows: Ends, choice: Choice, leaves: Leaves) -> tuple[Ends, Array, Array]:
        """Return rows over the input that with a value, less what is lost, are below A . z for each row A."""
        pending, value = {start.name: rows}, np.zeros(len(rows[1])) + leaves.push
        lost = self.underflow + gamma(DEEPEST + 8) * (np.zeros(len(value)) + leaves.size)
        source = self.network.input.name

        def add(name: str, given: Ends) -> None:
            pending[name] = joined(pending[name], given) if name in pending else given

        for node in reversed(self.network.nodes.values()):
            if node.name in leaves.pulls:
                at, pull = leaves.pulls[node.name]
                add(node.name, (at, -pull))
            if node.name not in pending or node.name == source:
                continue
            entries, a = pending.pop(node.name)
            if node.name in leaves.envelopes:
                (g, h, size), shares = leaves.envelopes[node.name]
                inside = np.isin(leaves.lines[node.name].at, entries)
                columns, a = np.searchsorted(entries, leaves.lines[node.name].at[inside]), a.copy()
                shared = np.minimum(a[:, columns], 0) * shares[:, inside]
                a[:, columns] -= shared
                value = value + shared @ h[inside]
                lost = lost + np.abs(shared) @ (gamma(len(h) + self.more) * size[inside])
                add(source, (np.arange(self.region.x.size), shared @ g[inside]))
            step, loss = self._step(node, entries, choice, leaves.lines)
            lost = lost + (np.abs(a) * loss).sum(axis=1)
            above_0, below_0 = np.maximum(a, 0), np.minimum(a, 0)
            value = value + (above_0 * step.below + below_0 * step.above).sum(axis=1)
            for name, lower_line, upper_line in step.inputs:
                if lower_line is upper_line:
                    add(name, through(a, entries, lower_line))
                else:
                    add(name, joined(through(above_0, entries, lower_line), through(below_0, entries, upper_line)))
        return pending.get(source, (np.zeros(0, dtype=int), np.zeros((len(value), 0)))), value, lost


def _together(node: Node, entries: Array) -> list[Array]:
    """Return which of some entries are bounded together: all channels of a few places, whose rows reach the same."""
    order = np.argsort(entries % (node.size // node.shape[0]), kind="stable")
    blocks = (order[begin : begin + _ROWS] for begin in range(0, len(order), _ROWS))
    return [block[np.argsort(entries[block])] for block in blocks]
