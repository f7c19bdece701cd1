"""`Example`: the searches of one example's rows, and the proofs of their leaves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from epsball.certificates.branching.dual import Dual, Parts, Schedule
from epsball.certificates.branching.envelopes import (
    Above,
    ProvedEnvelope,
    chosen_taus,
    is_plain,
    proved_above,
    proved_envelopes,
    searched_above,
)
from epsball.certificates.branching.exact import affine_optimum
from epsball.certificates.branching.proof import leaf_bounds
from epsball.certificates.branching.reduced import Layer
from epsball.certificates.branching.region import Region
from epsball.certificates.branching.search import Limits, Part, Search, leaf_slopes
from epsball.certificates.branching.tightening import Tightened
from epsball.certificates.branching.tree import Ending, Searched, Slopes, Split, Step, Taus, Tree
from epsball.certificates.problem import LowerBounds, Problem

ROOT = Schedule(40, 0.25, decay=0.95)
"""The ascent of the rows over the whole domain."""

SHORT = 60
"""Parts, times the rows that are not proved, that are tried before envelopes are chosen: most rows need fewer."""


@dataclass(kw_only=True, eq=False)
class Example:
    """One example: its reduced network, what is proved of its rows so far, and what that took.

    Parameters
    ----------
    problem, tightened
        A batch of one, and its bounds.
    dtype
        The format of searches.
    rows
        The bounds of the rows, (r,).
    """

    problem: Problem
    tightened: Tightened
    dtype: torch.dtype
    rows: Tensor
    trees: list[Tree] = field(default_factory=list)
    passes: int = 0
    parts: int = 0
    leaves: int = 0
    ending: Ending = "proved"
    witness: Tensor | None = None
    _envelopes: Mapping[str, ProvedEnvelope] = field(default_factory=dict)

    def __post_init__(self) -> None:
        graph, reduced = self.problem.graph, self.tightened.reduced
        self.layers = reduced.layers
        self.functions = reduced.functions(graph.output, self.problem.specification[0])
        self.region = Region.of(self.problem.domain, self.dtype)
        self.units = [
            Split(graph[layer.node].inputs[0], place, kink)
            for layer in self.layers
            for place, kink in zip(layer.places.tolist(), layer.kinks.tolist(), strict=True)
        ]

    def search(self, lacking: Tensor, limits: Limits) -> None:
        """Search the rows that are not proved: all together at first, then one by one with envelopes of its own each.

        Envelopes make trees many times smaller, and cost as much as some hundred parts to choose.
        """
        above = None if limits.gap is not None else self._above()
        most = SHORT * len(lacking)
        short = limits if above is None else replace(limits, parts=min(most, limits.parts or most))
        dual = Dual(self.layers, self.functions, self.region, self.dtype)
        whole, bound = dual.ascend(dual.root(lacking), ROOT)
        first = self._search(dual)
        first.start(lacking.tolist(), whole, bound, short)
        first.run()
        self._note(first, {}, last=above is None)
        if self.ending != "parts" or above is None or self.parts >= (limits.parts or self.parts + 1):
            return
        known = proved_above(self.tightened.bounds, self.tightened.neurons)
        for at in torch.argsort(bound.value, descending=True).tolist():
            row = int(lacking[at])
            if first.proved(row) or self.ending not in ("proved", "parts"):
                continue
            goal = 2 * (float(bound.value[at]) - first.roots[row])
            self._search_with_envelopes(row, whole.take(slice(at, at + 1)), above, known, goal, limits)

    def _search_with_envelopes(
        self,
        row: int,
        whole: Parts,
        above: Sequence[Above | None],
        known: Mapping[str, tuple[Tensor, Above]],
        goal: float,
        limits: Limits,
    ) -> None:
        """Search a row whose root's multipliers are given, with envelopes made of functions above the rectifiers."""
        dual = Dual(self.layers, self.functions, self.region, self.dtype)
        taus, slopes = chosen_taus(dual, above, whole, self.layers, goal)
        self._envelopes = proved_envelopes(self.tightened.bounds, known, taus)
        whole, bound = dual.ascend(whole._replace(slopes=slopes), ROOT)
        search = self._search(dual)
        left = replace(
            limits,
            parts=None if limits.parts is None else limits.parts - self.parts,
            passes=None if limits.passes is None else limits.passes - self.passes,
        )
        search.start([row], whole, bound, left)
        search.run()
        self._note(search, taus, last=True)
        self._envelopes = {}

    def _search(self, dual: Dual) -> Search:
        return Search(dual, self.layers, prove=self.proved, exact=self.optimum, margins=self.margins)

    def _above(self) -> list[Above | None] | None:
        """Return functions above the rectifiers of every layer, or None if no layer has any."""
        found = [
            above if is_plain(self.tightened.bounds, layer.node) else None
            for above, layer in zip(searched_above(self.tightened), self.layers, strict=True)
        ]
        return found if any(above is not None for above in found) else None

    def _note(self, search: Search, taus: Mapping[str, Taus], *, last: bool) -> None:
        """Take over what a search found; if nothing follows, also what its open parts prove."""
        self.ending, self.witness = search.ending, search.witness
        self.passes += search.dual.passes
        self.parts += search.bounded
        for row, value in search.lower_bounds(with_open=last).items():
            self.rows[row] = max(float(self.rows[row]), value)
            if search.proved(row):
                self.leaves += len(search.trees[row].leaves)
                self.trees.append(self.tree(row, search, taus))

    def result(self, found: LowerBounds) -> LowerBounds:
        """Return bounds with what was found."""
        report = Searched(ending=self.ending, parts=self.parts, leaves=self.leaves, witness=self.witness)
        passes = {0: self.tightened.passes + self.passes}
        trees, searched = {0: self.trees}, {0: report}
        return replace(found, rows=self.rows.unsqueeze(0), trees=trees, passes=passes, searched=searched)

    def proved(self, parts: Sequence[Part]) -> Tensor:
        """Return the bounds of leaves by the whole network."""
        rows = self.problem.specification[0, [part.row for part in parts]]
        return leaf_bounds(self.tightened.bounds, rows, self.paths(parts), self.slopes(parts), self._envelopes)

    def paths(self, parts: Sequence[Part]) -> list[list[Step]]:
        """Return the constraints on the way to each part."""
        return [
            [Step(self.units[unit], sign, float(part.multipliers[unit])) for unit, sign in part.path] for part in parts
        ]

    def slopes(self, parts: Sequence[Part]) -> dict[str, Slopes]:
        """Return the slopes of the lines around each bent node in each part."""
        chosen, start = torch.stack([leaf_slopes(part) for part in parts]), 0
        states = torch.stack([part.states for part in parts])
        found = {}
        for layer in self.layers:
            at = slice(start, start + len(layer))
            found[layer.node] = _lines(layer, chosen[:, at], states[:, at], self.tightened)
            start += len(layer)
        return found

    def optimum(self, part: Part) -> Tensor | None:
        """Return the best multipliers of a part without a free rectifier; note where its bound is attained."""
        found = affine_optimum(self.layers, self.functions, self.region, part.row, part.states)
        if found is None:
            return None
        part.point = found[1].to(part.point.dtype)
        return found[0].to(part.multipliers.dtype)

    def margins(self, points: Tensor) -> Tensor:
        """Return the margins that the network has at points, as deployed if that is claimed."""
        graph, bounds = self.problem.graph, self.tightened.bounds
        x = points.view(-1, *graph.input.shape)
        with torch.no_grad():
            deployed = bounds.arithmetic.deployed is not None
            logits = graph(x.float()) if deployed else graph(x.double(), bounds.parameters)
        return logits.double() @ self.problem.specification[0].T

    def tree(self, row: int, search: Search, taus: Mapping[str, Taus]) -> Tree:
        """Return the tree of a row whose parts are all proved."""
        tree = search.trees[row]
        shape: list[Split | None] = []
        leaves: list[Part] = []
        left = [0]
        while left:
            number = left.pop()
            if number in tree.children:
                unit, below, above = tree.children[number]
                shape.append(self.units[unit])
                left += [above, below]
            else:
                shape.append(None)
                leaves.append(tree.leaves[number][0])
        return Tree(row=row, shape=shape, paths=self.paths(leaves), slopes=self.slopes(leaves), taus=taus)


def _lines(layer: Layer, chosen: Tensor, states: Tensor, tightened: Tightened) -> Slopes:
    """Return the slopes of lines around a node's value, given those of its rectifiers."""
    places = layer.places.unique()
    at = torch.searchsorted(places, layer.places)
    free, on = states == 0, (states > 0).double()
    chord = layer.chord[0]
    folded = tightened.reduced.folded(layer.node)[places].expand(len(chosen), -1)
    positive = layer.weights > 0
    nearer, farther = torch.where(free, chosen, on), torch.where(free, chord, on)
    if len(places) == len(layer):
        # A single kink that is decided leaves a line, whose slope is not read; nor has it a share of an envelope.
        nearer = nearer * free
    lower = folded.clone().index_add_(1, at, layer.weights * torch.where(positive, nearer, farther))
    upper = folded.clone().index_add_(1, at, layer.weights * torch.where(positive, farther, nearer))
    return Slopes(places=places, lower=lower.half(), upper=None if bool(positive.all()) else upper.half())
