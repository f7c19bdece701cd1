"""The optimal risk of a problem, radius by radius, for two classes and for more."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int8

from epsball.limits.conflicts.graph import Conflicts
from epsball.limits.conflicts.problem import Problem
from epsball.limits.conflicts.sample import Sample
from epsball.limits.flow.bipartite import bipartite, pair_of_classes, sides
from epsball.limits.flow.flow import Flow, raise_readings
from epsball.limits.hyperedges.half_integral import half_integral
from epsball.limits.hyperedges.soft_optimum import Effort, SoftOptimum, soft_optimum
from epsball.progress import report

STATUS_NAMES = ("safe", "either", "given up")
SAFE, EITHER, GIVEN_UP = range(3)


@dataclass(frozen=True, kw_only=True)
class Level:
    """What is known at one radius.

    Parameters
    ----------
    low, high
        Bounds of the optimal risk over soft classifiers, equal up to rounding where it is exact.
    deterministic
        A risk that some deterministic classifier reaches.
    representable
        Lower bound from the representable conflicts alone.
    status
        (n,) `SAFE`, `EITHER` or `GIVEN_UP`, in sorted order.
    """

    low: float
    high: float
    deterministic: float
    representable: float
    status: Int8[np.ndarray, " n"]


def levels(problem: Problem, effort: Effort) -> Iterator[Level]:
    """Yield what is known at each radius, both readings of ties solved by the same steps."""
    data, readings = problem.sample, problem.readings
    flows = [Flow(graph, *sides(data, data.capacity)) for graph in bipartite(data, readings)]
    two = len(data.classes) == 2
    for level in range(len(problem.radii)):
        raise_readings(flows, level)
        found = _two_classes(data, flows) if two else _many_classes(problem, flows, level, effort)
        report("radii", level + 1, len(problem.radii))
        yield found


def _two_classes(data: Sample, flows: list[Flow]) -> Level:
    """Return the level of two classes: the maximum flow is the mass that any classifier gives up."""
    low, representable = (flow.value / data.total for flow in (flows[0], flows[-1]))
    status = np.full(len(data), EITHER, dtype=np.int8)
    for part, side in zip(sides(data, status), flows[0].cover_status(), strict=True):
        part[side.always], part[side.never] = GIVEN_UP, SAFE
    high = low + data.shortfall
    return Level(low=low, high=high, deterministic=high, representable=representable, status=status)


@dataclass(frozen=True, kw_only=True)
class _Solved:
    """More than two classes in one reading of ties: risk over pairs, what pairs settle, and all sets."""

    pairs: float
    safe: Bool[np.ndarray, " n"]
    given_up: Bool[np.ndarray, " n"]
    soft: SoftOptimum


def _many_classes(problem: Problem, flows: list[Flow], level: int, effort: Effort) -> Level:
    """Return the level of more classes: pairs by the double cover, then hyperedges."""
    data = problem.sample
    solved = [_solve(problem, graph, flow, level, effort) for graph, flow in zip(problem.readings, flows, strict=True)]
    exact, representable = solved[0], solved[-1]
    status = np.full(len(data), EITHER, dtype=np.int8)
    status[exact.safe], status[exact.given_up] = SAFE, GIVEN_UP
    low = max(exact.pairs, exact.soft.low)
    return Level(
        low=low,
        high=max(low, exact.soft.high + data.shortfall),
        deterministic=max(low, exact.soft.deterministic + data.shortfall),
        representable=min(low, max(representable.pairs, representable.soft.representable)),
        status=status,
    )


def _solve(problem: Problem, graph: Conflicts, flow: Flow, level: int, effort: Effort) -> _Solved:
    """Return the solution of one reading, whose pairs the flow has solved."""
    data = problem.sample
    safe, given_up = flow.reached()
    part = half_integral(graph, level, ~safe & ~given_up, data.labels)
    soft = soft_optimum(data, problem.joint_norm, problem.radii[level], part, safe, effort)
    return _Solved(pairs=flow.value / (2 * data.total), safe=safe, given_up=given_up, soft=soft)


def pair_levels(problem: Problem) -> Float64[np.ndarray, "k c c"]:
    """Return (k, C, C): the optimal risk of each two classes on their own, weights rescaled to sum one."""
    data, graph = problem.sample, problem.exact
    count, bounds = len(data.classes), data.bounds
    risks = np.zeros((len(graph.radii), count, count))
    for a in range(count):
        ends = graph.neighbour[graph.start[bounds[a]] : graph.start[bounds[a + 1]]]
        for b in np.unique(data.labels[ends]):
            left, right = (data.capacity[bounds[c] : bounds[c + 1]] for c in (a, b))
            mass = int(left.sum()) + int(right.sum())
            flow = Flow(pair_of_classes(graph, data, a, int(b)), left, right)
            for level in range(len(graph.radii)):
                risks[level, a, b] = risks[level, b, a] = flow.raise_to(level) / mass if mass else 0.0
    return risks
