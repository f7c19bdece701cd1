"""`complete`: branch and bound over the kinks of a piecewise linear network."""

import math
import time
from dataclasses import replace

import torch
from torch import Tensor

from epsball.certificates.branching.division.search import FEW_INPUTS, BoxSearch
from epsball.certificates.branching.example import Example
from epsball.certificates.branching.kinks import is_bent, unsplittable
from epsball.certificates.branching.relaxation.packed import MANY, compile_sweeps
from epsball.certificates.branching.search.parts import PARTS_AT_ONCE, Limits
from epsball.certificates.branching.tightening.neurons import Tightened
from epsball.certificates.linear import refiner
from epsball.certificates.linear.sweep import final_bounds
from epsball.certificates.problem import LowerBounds, Problem
from epsball.graph import Graph

PARTS = 100_000
"""Parts of an example's domain that are bounded where no other limit is given."""

TRIED = 240
"""Parts that each kind of cut is tried on where both neurons and inputs may be cut."""


def complete(problem: Problem, *, parts: int = PARTS, gap: float | None = None) -> LowerBounds:
    """Bound by branch and bound: the domain is cut at the kinks of rectifiers until every part is proved.

    Every unstable neuron is bounded by a row with slopes of its own; then the rows that are left are split, each by a
    tree of its own. The search runs in float32 on the network's unstable rectifiers alone; each leaf is then proved on
    the whole network with all error terms, by its slopes and multipliers, and split on where that fails. With enough
    parts every row is decided whose least margin exceeds what rounding may cost. Inputs of at most `FEW_INPUTS` entries
    are cut too where that closes more, and networks bent elsewhere than at kinks are searched by boxes of inputs and
    neurons (`BoxSearch`).

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
        If the network has an operation without bounds.

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
    bent = unsplittable(problem.graph, problem.propagate()) is None
    example = _by_kinks if bent else _by_boxes
    each = [example(problem.take(slice(at, at + 1)), parts, gap) for at in range(len(problem))]
    return LowerBounds.joined(each, problem.graph)


def _by_boxes(problem: Problem, parts: int, gap: float | None) -> LowerBounds:
    """Return the bounds of one example of a network that is bent elsewhere than at kinks."""
    deadline = _deadline(problem)
    bounds = problem.propagate(refine=refiner(problem.max_memory, lower="every"))
    rows = final_bounds(bounds, problem.specification, max_memory=problem.max_memory)
    found = LowerBounds(rows=rows, boxes=bounds.boxes)
    lacking = torch.nonzero((rows[0] <= 0) | (gap is not None))[:, 0].tolist()
    if not lacking or not bool(rows.isfinite().all()):
        return found
    search = BoxSearch(problem, bounds, neurons=True)
    search.start(lacking, rows[0, lacking].tolist())
    search.run(Limits(parts=parts, passes=problem.budget, deadline=deadline, gap=gap))
    return search.result(found)


def _by_kinks(problem: Problem, parts: int, gap: float | None) -> LowerBounds:
    """Return the bounds of one example of a piecewise linear network."""
    dtype = torch.float32 if gap is None else torch.float64
    if problem.domain.norm != "l1" and _rectifiers(problem.graph) >= MANY:
        compile_sweeps(dtype)
    deadline = _deadline(problem)
    if gap is None and (easy := _without_search(problem)) is not None:
        return easy
    tightened = Tightened(problem, deadline)
    bounds = tightened.bounds
    rows = final_bounds(bounds, problem.specification, max_memory=problem.max_memory)
    passes, neurons = {0: tightened.passes}, {0: tightened.neurons}
    found = LowerBounds(rows=rows, boxes=bounds.boxes, neuron_slopes=neurons, passes=passes)
    lacking = torch.nonzero((rows[0] <= 0) | (gap is not None))[:, 0]
    one = Example(
        problem=problem,
        tightened=tightened,
        dtype=dtype,
        rows=rows[0].clone(),
    )
    if not len(lacking) or not one.layers or not bool(rows.isfinite().all()):
        return found
    budget = None if problem.budget is None else problem.budget - tightened.passes
    width = 64 * (sum(len(layer) for layer in one.layers) + len(one.region.low))
    at_once = PARTS_AT_ONCE if problem.max_memory is None else max(1, min(PARTS_AT_ONCE, problem.max_memory // width))
    limits = Limits(parts=parts, passes=budget, deadline=deadline, at_once=at_once, gap=gap)
    if gap is None and problem.domain.centre[0].numel() <= FEW_INPUTS:
        return _either(one, found, lacking, limits)
    one.search(lacking, limits)
    return one.result(found)


def _either(one: Example, found: LowerBounds, lacking: Tensor, limits: Limits) -> LowerBounds:
    """Return the bounds by cuts of neurons or of the input, whichever closed more of the domain in a first try."""
    first = replace(limits, parts=min(TRIED, limits.parts or TRIED))
    one.search(lacking, first)
    left = torch.nonzero(one.rows <= 0)[:, 0]
    if one.ending != "parts" or not len(left):
        return one.result(found)
    boxes = BoxSearch(one.problem, one.tightened.bounds, neurons=False)
    boxes.start(left.tolist(), one.rows[left].tolist())
    by_neurons = one.closed
    boxes.run(replace(one.left(limits), parts=TRIED))
    if boxes.ending == "parts" and boxes.closed < by_neurons:
        one.parts, one.passes = one.parts + boxes.bounded, one.passes + boxes.passes
        one.search(left, limits)
        return one.result(found)
    boxes.run(one.left(limits))
    return boxes.result(one.result(found))


def _rectifiers(graph: Graph) -> int:
    """Return how many entries bent nodes have."""
    return sum(math.prod(node.shape) for node in graph.nodes if is_bent(node) and node.name not in graph.constant)


def _deadline(problem: Problem) -> float | None:
    return None if problem.cpu_seconds is None else time.process_time() + problem.cpu_seconds


def _without_search(problem: Problem) -> LowerBounds | None:
    """Return bounds that prove all rows without slopes of neurons' own, or None: the cheapest slopes tell whether."""
    found = None
    for lower in ("adaptive", "every"):
        bounds = problem.propagate(refine=refiner(problem.max_memory, lower=lower))
        rows = final_bounds(bounds, problem.specification, max_memory=problem.max_memory)
        found = LowerBounds(rows=rows, boxes=bounds.boxes) if bool((rows > 0).all()) else None
        if found is None:
            break
    return found
