"""`complete`: branch and bound over the kinks of a piecewise linear network."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from epsball.certificates.branching.dual import Dual, Schedule
from epsball.certificates.branching.exact import affine_optimum
from epsball.certificates.branching.kinks import check_splittable
from epsball.certificates.branching.proof import leaf_bounds
from epsball.certificates.branching.reduced import Layer
from epsball.certificates.branching.region import Region
from epsball.certificates.branching.search import Limits, Part, Search, leaf_slopes
from epsball.certificates.branching.tightening import Tightened
from epsball.certificates.branching.tree import Searched, Slopes, Split, Step, Tree
from epsball.certificates.linear import refiner
from epsball.certificates.linear.sweep import final_bounds
from epsball.certificates.problem import LowerBounds, Problem

PARTS = 100_000
"""Parts of an example's domain that are bounded where no other limit is given."""

ROOT = Schedule(40, 0.25, decay=0.95)
"""The ascent of the rows over the whole domain."""


def complete(problem: Problem, *, parts: int = PARTS, gap: float | None = None) -> LowerBounds:
    """Bound by branch and bound: the domain is cut at the kinks of rectifiers until every part is proved.

    Every unstable neuron is bounded by a row with slopes of its own; then the rows that are left are split, each by a
    tree of its own. The search runs in float32 on the network's unstable rectifiers alone; each leaf is then proved on
    the whole network with all error terms, by its slopes and multipliers, and split on where that fails. With enough
    parts every row is decided whose least margin exceeds what rounding may cost.

    Parameters
    ----------
    problem
        What is bounded; its `cpu_seconds` and `budget` limit the search of each example too.
    parts
        Parts of the domain to bound, per example.
    gap
        Instead of a proof that every row is positive, seek each row's least value to within this.

    Raises
    ------
    UnsupportedOperation
        If the network has a nonlinear operation other than ReLU, leaky and parametric ReLU, abs and clamp.

    References
    ----------
    Bunel et al., "Branch and bound for piecewise linear neural network verification" (JMLR 2020); Wang et al.,
    "Beta-CROWN" (NeurIPS 2021).

    Examples
    --------
    >>> import torch, epsball as eb
    >>> from epsball.certificates import Domain, Problem, complete
    >>> from epsball.graph import capture
    >>> domain = Domain.of(eb.Ball("linf", "1/10"), torch.tensor([[0.8, 0.3]]))
    >>> problem = Problem.of(capture(torch.nn.ReLU(), (2,)), domain, torch.tensor([0]))
    >>> complete(problem).rows
    tensor([[0.3000]], dtype=torch.float64)
    """
    check_splittable(problem.graph, problem.propagate())
    each = [_example(problem.take(slice(at, at + 1)), parts, gap) for at in range(len(problem))]
    return LowerBounds.joined(each, problem.graph)


def _example(problem: Problem, parts: int, gap: float | None) -> LowerBounds:
    """Return the bounds of one example."""
    deadline = None if problem.cpu_seconds is None else time.process_time() + problem.cpu_seconds
    bounds = problem.propagate(refine=refiner(problem.max_memory, lower="every"))
    rows = final_bounds(bounds, problem.specification, max_memory=problem.max_memory)
    if gap is None and bool((rows > 0).all()):
        return LowerBounds(rows=rows, boxes=bounds.boxes)
    tightened = Tightened(problem, deadline)
    bounds = tightened.bounds
    rows = torch.maximum(rows, final_bounds(bounds, problem.specification, max_memory=problem.max_memory))
    passes, neurons = {0: tightened.passes}, {0: tightened.neurons}
    found = LowerBounds(rows=rows, boxes=bounds.boxes, neuron_slopes=neurons, passes=passes)
    lacking = torch.nonzero((rows[0] <= 0) | (gap is not None))[:, 0]
    one = _Example(problem, tightened, torch.float32 if gap is None else torch.float64)
    if not len(lacking) or not one.layers or not bool(rows.isfinite().all()):
        return found
    budget = None if problem.budget is None else problem.budget - tightened.passes
    width = 64 * (sum(len(layer) for layer in one.layers) + len(one.region.low))
    at_once = 96 if problem.max_memory is None else max(1, min(96, problem.max_memory // width))
    return one.searched(found, lacking, Limits(parts=parts, passes=budget, deadline=deadline, at_once=at_once, gap=gap))


@dataclass(eq=False)
class _Example:
    """One example, and what its proofs need."""

    problem: Problem
    tightened: Tightened
    dtype: torch.dtype

    def __post_init__(self) -> None:
        graph = self.problem.graph
        self.layers = self.tightened.reduced.layers
        self.functions = self.tightened.reduced.functions(graph.output, self.problem.specification[0])
        self.region = Region.of(self.problem.domain, self.dtype)

    def searched(self, found: LowerBounds, lacking: Tensor, limits: Limits) -> LowerBounds:
        """Return bounds with those rows searched that are not proved."""
        dual = Dual(self.layers, self.functions, self.region, self.dtype)
        search = Search(dual, self.layers, prove=self.proved, exact=self.optimum, margins=self.margins, limits=limits)
        whole, bound = dual.ascend(dual.root(lacking), ROOT)
        search.start(lacking.tolist(), whole, bound)
        search.run()
        rows = found.rows.clone()
        for row, value in search.lower_bounds().items():
            rows[0, row] = max(float(rows[0, row]), value)
        trees = [self.tree(row, search) for row in lacking.tolist()] if not search.open else []
        report = Searched(
            ending=search.ending,
            parts=search.bounded,
            leaves=sum(len(tree.leaves) for tree in search.trees.values()),
            witness=search.witness,
        )
        passes = {0: self.tightened.passes + dual.passes}
        return replace(found, rows=rows, trees={0: trees}, passes=passes, searched={0: report})

    def proved(self, parts: Sequence[Part]) -> Tensor:
        """Return the bounds of leaves by the whole network."""
        rows = self.problem.specification[0, [part.row for part in parts]]
        return leaf_bounds(self.tightened.bounds, rows, self.paths(parts), self.slopes(parts))

    def paths(self, parts: Sequence[Part]) -> list[list[Step]]:
        """Return the constraints on the way to each part."""
        units = self.units
        return [[Step(units[unit], sign, float(part.multipliers[unit])) for unit, sign in part.path] for part in parts]

    @property
    def units(self) -> list[Split]:
        """The splits that rectifiers stand for, by number."""
        graph = self.problem.graph
        return [
            Split(graph[layer.node].inputs[0], place, kink)
            for layer in self.layers
            for place, kink in zip(layer.places.tolist(), layer.kinks.tolist(), strict=True)
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

    def tree(self, row: int, search: Search) -> Tree:
        """Return the tree of a row whose parts are all proved."""
        tree, units = search.trees[row], self.units
        shape: list[Split | None] = []
        leaves: list[Part] = []
        left = [0]
        while left:
            number = left.pop()
            if number in tree.children:
                unit, below, above = tree.children[number]
                shape.append(units[unit])
                left += [above, below]
            else:
                shape.append(None)
                leaves.append(tree.leaves[number][0])
        return Tree(row=row, shape=shape, paths=self.paths(leaves), slopes=self.slopes(leaves))


def _lines(layer: Layer, chosen: Tensor, states: Tensor, tightened: Tightened) -> Slopes:
    """Return the slopes of lines around a node's value, given those of its rectifiers."""
    places = layer.places.unique()
    at = torch.searchsorted(places, layer.places)
    free, on = states == 0, (states > 0).double()
    chord = layer.chord[0]
    folded = tightened.reduced.folded(layer.node)[places].expand(len(chosen), -1)
    positive = layer.weights > 0
    nearer, farther = torch.where(free, chosen, on), torch.where(free, chord, on)
    lower = folded.clone().index_add_(1, at, layer.weights * torch.where(positive, nearer, farther))
    upper = folded.clone().index_add_(1, at, layer.weights * torch.where(positive, farther, nearer))
    return Slopes(places=places, lower=lower.half(), upper=None if bool(positive.all()) else upper.half())
