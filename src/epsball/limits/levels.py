"""The optimal risk of a conflict graph, radius by radius, for two classes and for more."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int8

from epsball.limits.conflicts.graph import Conflicts
from epsball.limits.conflicts.sample import Sample
from epsball.limits.flow.bipartite import double_cover, pair_of_classes, two_classes
from epsball.limits.flow.flow import Bipartite, Flow
from epsball.limits.hyperedges.half_integral import core_of
from epsball.limits.hyperedges.soft_optimum import Effort, Soft, soft_optimum
from epsball.progress import report

SAFE, EITHER, GIVEN_UP = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class Level:
    """What is known at one radius.

    Parameters
    ----------
    low, high
        Bounds of the optimal risk over soft classifiers, equal up to rounding where it is exact.
    deterministic
        A risk that some deterministic classifier reaches.
    stored
        Lower bound in the machine's reading of ties.
    state
        (n,) `SAFE`, `EITHER` or `GIVEN_UP`, in sorted order.
    """

    low: float
    high: float
    deterministic: float
    stored: float
    state: Int8[np.ndarray, " n"]


def two_class_levels(data: Sample, graph: Conflicts) -> Iterator[Level]:
    """Yield each radius for two classes: the maximum flow is the mass that any classifier gives up."""
    problem, first = two_classes(graph, data), int(data.bounds[1])
    capacities = data.capacity[:first], data.capacity[first:]
    flow, stored = _readings(problem, graph, *capacities)
    for level in range(len(graph.radii)):
        held = _raised(stored, flow, level) / data.total
        low = flow.raise_to(level) / data.total
        state = np.full(len(data), EITHER, dtype=np.int8)
        for part, side in zip((slice(None, first), slice(first, None)), flow.sides(), strict=True):
            state[part][side.always], state[part][side.never] = GIVEN_UP, SAFE
        high = low + data.shortfall
        report("radii", level + 1, len(graph.radii))
        yield Level(low=low, high=high, deterministic=high, stored=held, state=state)


def many_class_levels(data: Sample, graph: Conflicts, norm: str | None, effort: Effort) -> Iterator[Level]:
    """Yield each radius for more classes: pairs by the double cover, then hyperedges.

    `norm` None: a caller's rule says nothing about joint intersections, so only pairs are counted.
    """
    problem = double_cover(graph)
    flow, machine_flow = _readings(problem, graph, data.capacity, data.capacity)
    machine = replace(graph, level=graph.active)
    for level in range(len(graph.radii)):
        _raised(machine_flow, flow, level)
        found = _reading(data, graph, flow, level, norm, effort)
        held = found if machine_flow is flow else _reading(data, machine, machine_flow, level, norm, effort)
        state = np.full(len(data), EITHER, dtype=np.int8)
        state[found.safe], state[found.given_up] = SAFE, GIVEN_UP
        low = max(found.pairs, found.soft.low)
        report("radii", level + 1, len(graph.radii))
        yield Level(
            low=low,
            high=max(low, found.soft.high + data.shortfall),
            deterministic=max(low, found.soft.deterministic + data.shortfall),
            stored=min(low, max(held.pairs, held.soft.stored)),
            state=state,
        )


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """More than two classes under one reading of ties: risk over pairs, its certain examples, and all sets."""

    pairs: float
    safe: np.ndarray
    given_up: np.ndarray
    soft: Soft


def _reading(data: Sample, graph: Conflicts, flow: Flow, level: int, norm: str | None, effort: Effort) -> _Reading:
    pairs = flow.raise_to(level) / (2 * data.total)
    safe, given_up = flow.reached()
    core = core_of(graph, level, ~safe & ~given_up, data.labels)
    soft = soft_optimum(data, norm, graph.radii[level], core, safe, effort)
    return _Reading(pairs=pairs, safe=safe, given_up=given_up, soft=soft)


def pair_levels(data: Sample, graph: Conflicts) -> np.ndarray:
    """Return (k, C, C): the optimal risk of each two classes on their own, weights rescaled to sum one."""
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


def _readings(problem: Bipartite, graph: Conflicts, left: np.ndarray, right: np.ndarray) -> tuple[Flow, Flow]:
    """Return the flows of the data's and the machine's reading of ties, one and the same if no tie moved."""
    if graph.active is graph.level:
        flow = Flow(problem, left, right)
        return flow, flow
    whole = Bipartite(**{**vars(problem), "active": problem.level})
    return Flow(whole, left, right), Flow(problem, left, right)


def _raised(stored: Flow, flow: Flow, level: int) -> int:
    """Raise the machine's reading, let the data's continue from it, and return the machine's value.

    The machine's conflicts are conflicts of the data too, nearly all of them, so little is left to send.
    """
    value = stored.raise_to(level)
    if stored is not flow:
        flow.continue_from(stored)
    return value
