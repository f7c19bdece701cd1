"""`Example`: the searches of one example's rows, and the proofs of their leaves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from epsball.certificates.branching.proof.leaves import conditional_bounds, leaf_bounds
from epsball.certificates.branching.proof.setting import Setting
from epsball.certificates.branching.relaxation.dual import Dual
from epsball.certificates.branching.relaxation.exact import affine_optimum
from epsball.certificates.branching.relaxation.lines import lines_around
from epsball.certificates.branching.relaxation.region import Region
from epsball.certificates.branching.relaxation.subproblems import Bound, Envelope, Parts, Schedule
from epsball.certificates.branching.search.descent import Descent
from epsball.certificates.branching.search.parts import Limits, Part, leaf_slopes
from epsball.certificates.branching.search.search import Anew, Search
from epsball.certificates.branching.tightening.conditional import ROWS, conditional_neurons
from epsball.certificates.branching.tightening.envelopes import (
    Above,
    Shares,
    chosen_taus,
    exact_neurons,
    first_shares,
    is_plain,
    proved_above,
    proved_envelopes,
    searched_above,
    stored,
)
from epsball.certificates.branching.tightening.neurons import Tightened
from epsball.certificates.branching.tree import Ending, Searched, Slopes, Split, Step, Tree
from epsball.certificates.problem import LowerBounds, Problem
from epsball.certificates.slopes.neurons import NeuronSlopes

ROOT = Schedule(40, 0.25, decay=0.95)
"""The ascent of the rows over the whole domain."""

AGAIN = Schedule(15, 0.1, decay=0.9)
"""The ascent of a row whose slopes are nearly the best already."""

SHORT = 240
"""Parts, times the rows that are not proved, that are tried first: about what the choice of envelopes costs."""


ENVELOPED = 240
"""Parts of a row with envelopes that are tried before neurons are bounded for it alone, which costs as much."""

_ROUNDS = 3
"""How often these are bounded: what is shown of some counts for the others, and for themselves."""

LEVEL = 2.0**-20
"""The condition under which neurons are bounded: that a row is at most this share of its bound at the root.

Leaves show twice as much, so that a checker with other error terms has room."""


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
    closed: float = 0.0
    first: list[NeuronSlopes] = field(default_factory=list)

    def __post_init__(self) -> None:
        graph, reduced = self.problem.graph, self.tightened.reduced
        self.layers = reduced.layers
        self.setting = Setting(layers=self.layers, boxes=self.tightened.bounds.boxes)
        self.functions = reduced.functions(graph.output, self.problem.specification[0])
        self.region = Region.of(self.problem.domain, self.dtype)
        self.network = Descent(self.tightened.bounds, self.problem.specification[0], self.region)
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
        left, most = self.left(limits), SHORT * len(lacking)
        short = left if above is None else replace(left, parts=min(most, left.parts or most))
        dual = Dual(self.layers, self.functions, self.region, self.dtype)
        whole, bound = dual.ascend(dual.root(lacking), ROOT)
        first = self._searched(dual, lacking.tolist(), whole, bound, short)
        self._note(first, last=above is None)
        if self.ending != "parts" or above is None or self._spent(limits):
            return
        self.first = exact_neurons(self.tightened.bounds, self.layers[0]) if above[0] is not None else []
        known = proved_above(self.tightened.bounds, [*self.first, *self.tightened.neurons])
        for at in torch.argsort(bound.value, descending=True).tolist():
            row = int(lacking[at])
            if first.proved(row) or self.ending not in ("proved", "parts") or self._spent(limits):
                continue
            goal = 2 * (float(bound.value[at]) - first.roots[row])
            self._search_row(row, whole.take(slice(at, at + 1)), above, known, goal, limits)

    def _search_row(
        self,
        row: int,
        whole: Parts,
        above: Sequence[Above | None],
        known: Mapping[str, tuple[Tensor, Above]],
        goal: float,
        limits: Limits,
    ) -> None:
        """Search a row whose root's multipliers are given with envelopes, then also with conditional bounds."""
        plain, dual = self.setting, self._dual()
        first, slopes = chosen_taus(dual, first_shares(dual, above), whole, goal)
        shares: list[Sequence[Shares | None]] = [first]
        taus = stored(self.layers, first)
        envelopes = proved_envelopes(self.tightened.bounds, known, taus)
        self.setting = replace(self.setting, taus=taus, envelopes=envelopes, further=[])
        root, bound = dual.ascend(whole._replace(slopes=slopes), AGAIN)
        left, more = self.left(limits), bool(self._conditional_layers())

        def anew(part: Part) -> Dual:
            return self._chosen_anew(part, shares, known)

        short = replace(left, parts=min(ENVELOPED, left.parts or ENVELOPED)) if more else left
        self._note(self._searched(dual, [row], root, bound, short, None if more else anew), last=True)
        if self.ending == "parts" and more and not self._spent(limits):
            level = LEVEL * max(abs(float(bound.value)), 2.0**-64)
            self._bound_conditionally(row, dual.envelopes, level)
            envelopes, dual = dual.envelopes, self._dual()
            dual.envelopes = envelopes
            root, bound = dual.ascend(root._replace(states=dual.root(root.rows).states), ROOT)
            left = replace(self.left(limits), level=2 * level)
            self._note(self._searched(dual, [row], root, bound, left, anew), last=True)
        self.setting = plain

    def _chosen_anew(
        self, part: Part, shares: list[Sequence[Shares | None]], known: Mapping[str, tuple[Tensor, Above]]
    ) -> Dual:
        """Return the rows with envelopes that are best for a part, and add them to the setting."""
        dual = self._dual()
        states, slopes = part.states.unsqueeze(0), part.slopes.unsqueeze(0).to(self.dtype)
        given = Parts(torch.tensor([part.row]), states, slopes, part.multipliers.unsqueeze(0))
        found, _ = chosen_taus(dual, shares[part.branch.number], given, -part.bound)
        shares.append(found)
        taus = stored(self.layers, found)
        self.setting.further.append((taus, proved_envelopes(self.tightened.bounds, known, taus)))
        return dual

    def _dual(self) -> Dual:
        return Dual(self.setting.layers, self.functions, self.region, self.dtype)

    def _bound_conditionally(self, row: int, envelopes: Sequence[Envelope | None], level: float) -> None:
        """Bound the neurons of the later layers where a row is not proved, one layer after the other."""
        margin = self.functions.take(torch.tensor([row]))
        self.setting = replace(self.setting, level=level)
        for number in _ROUNDS * self._conditional_layers():
            now = self.setting
            part, passes = conditional_neurons(self.tightened.reduced, now.layers, envelopes, number, margin, level)
            self.passes += passes
            vector = self.problem.specification[0, row]
            ends = conditional_bounds(self.tightened.bounds, part, vector, level, now.envelopes, now.boxes)
            self.setting = now.having(part, number, *ends)

    def _conditional_layers(self) -> list[int]:
        """Return the layers but the first whose unstable neurons are few enough to bound them for one row."""
        layers = self.setting.layers
        return [k for k in range(1, len(layers)) if 0 < 2 * int(layers[k].is_free.sum()) <= ROWS]

    def _spent(self, limits: Limits) -> bool:
        return limits.parts is not None and self.parts >= limits.parts

    def left(self, limits: Limits) -> Limits:
        """Return what is left of limits."""
        return replace(
            limits,
            parts=None if limits.parts is None else limits.parts - self.parts,
            passes=None if limits.passes is None else limits.passes - self.passes,
        )

    def _searched(
        self,
        dual: Dual,
        rows: Sequence[int],
        whole: Parts,
        bound: Bound,
        limits: Limits,
        anew: Anew | None = None,
    ) -> Search:
        """Return a search of some rows, given the whole domain for each, that has ended."""
        search = Search(dual, self.layers, prove=self.proved, exact=self.optimum, network=self.network, anew=anew)
        search.start(rows, whole, bound, limits)
        search.run()
        return search

    def _above(self) -> list[Above | None] | None:
        """Return functions above the rectifiers of every layer, or None if no layer has any."""
        found = [
            above if is_plain(self.tightened.bounds, layer.node) else None
            for above, layer in zip(searched_above(self.tightened), self.layers, strict=True)
        ]
        return found if any(above is not None for above in found) else None

    def _note(self, search: Search, *, last: bool) -> None:
        """Take over what a search found; if nothing follows, also what its open parts prove."""
        if last:
            search.close_open()
        self.ending, self.witness = search.ending, search.witness
        self.passes += search.passes
        self.parts += search.bounded
        self.closed = search.closed
        level = self.setting.level
        for row, value in search.lower_bounds(with_open=last and level is None).items():
            proved = search.proved(row)
            if proved and value <= 0 and value < search.roots[row]:
                # A tree that shows less than its root, and no margin, is of no use.
                value, proved = search.roots[row], False
            if level is None or proved:
                self.rows[row] = max(float(self.rows[row]), value if level is None else level)
            if proved:
                self.leaves += len(search.trees[row].leaves)
                self.trees.append(self.tree(row, search))

    def result(self, found: LowerBounds) -> LowerBounds:
        """Return bounds with what was found."""
        report = Searched(ending=self.ending, parts=self.parts, leaves=self.leaves, witness=self.witness)
        passes = {0: self.tightened.passes + self.passes}
        trees, searched = {0: self.trees}, {0: report}
        enveloped = any(tree.taus for tree in self.trees)
        neurons = {0: [*(self.first if enveloped else ()), *self.tightened.neurons]}
        return replace(
            found,
            rows=self.rows.unsqueeze(0),
            trees=trees,
            neuron_slopes=neurons,
            passes=passes,
            searched=searched,
        )

    def proved(self, parts: Sequence[Part]) -> Tensor:
        """Return the bounds of leaves by the whole network."""
        rows = self.problem.specification[0, [part.row for part in parts]]
        numbers = torch.tensor([part.branch.number for part in parts])
        found = torch.empty(len(parts), dtype=torch.float64)
        for number in numbers.unique().tolist():
            at = torch.nonzero(numbers == number)[:, 0]
            some = [parts[k] for k in at.tolist()]
            envelopes = self.setting.further[number - 1][1] if number else self.setting.envelopes
            given = self.paths(some), self.slopes(some), envelopes, self.setting.boxes
            found[at] = leaf_bounds(self.tightened.bounds, rows[at], *given)
        return found

    def paths(self, parts: Sequence[Part]) -> list[list[Step]]:
        """Return the constraints on the way to each part."""
        found = []
        for part in parts:
            multipliers = part.multipliers[[unit for unit, _ in part.path]].tolist()
            found.append(
                [Step(self.units[at], sign, by) for (at, sign), by in zip(part.path, multipliers, strict=True)]
            )
        return found

    def slopes(self, parts: Sequence[Part]) -> dict[str, Slopes]:
        """Return the slopes of the lines around each bent node in each part."""
        chosen, states = (torch.stack(part) for part in zip(*((leaf_slopes(p), p.states) for p in parts), strict=True))
        return lines_around(self.tightened.reduced, self.setting.layers, chosen, states)

    def optimum(self, part: Part) -> tuple[Tensor, Tensor] | None:
        """Return the best multipliers of a part without a free rectifier, and where its bound is attained."""
        found = affine_optimum(self.layers, self.functions, self.region, part.row, part.states)
        return None if found is None else (found[0].to(self.dtype), found[1].to(self.dtype))

    def tree(self, row: int, search: Search) -> Tree:
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
        numbers = [part.branch.number for part in leaves]
        others = sorted({*numbers} - {0})
        return Tree(
            row=row,
            shape=shape,
            paths=self.paths(leaves),
            slopes=self.slopes(leaves),
            taus=self.setting.taus,
            further=[self.setting.further[number - 1][0] for number in others],
            used=[others.index(number) + 1 if number else 0 for number in numbers] if others else (),
            conditional=self.setting.conditional,
        )
