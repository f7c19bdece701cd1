"""What attains the optimum on a sample: a cover, a coupling, guarantees, and a classifier that keeps them."""

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64, Int64

from epsball.errors import InputError
from epsball.limits.conflicts.graph import Conflicts
from epsball.limits.conflicts.sample import Sample
from epsball.limits.flow.bipartite import double_cover, two_classes
from epsball.limits.flow.flow import Flow
from epsball.limits.flow.proper_losses import brier, coarse, cross_entropy, partition
from epsball.limits.hyperedges.half_integral import core_of
from epsball.limits.hyperedges.soft_optimum import STANDARD, soft_optimum
from epsball.results import Result, arrow_table, jsonable, text_table

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True, kw_only=True, eq=False)
class Optimum:
    """An optimal classifier and an optimal adversary on the sample, at one radius.

    Parameters
    ----------
    radius
        The radius.
    guarantee
        (n,) probability q_i with which an optimal (randomised) classifier answers y_i on all of
        N(x_i); 1 - sum w q is its risk.
    given_up
        Examples with q < 1: for two classes a minimum vertex cover; without them the risk is 0.
    coupling
        (t, 2) pairs of conflicting examples: an optimal adversary moves mass of both to a common
        point, such as their midpoint. More than two classes: over pairs, each mass counted half.
    mass
        (t,) the mass moved from each of the two; it sums to the risk for two classes.
    """

    radius: Fraction
    guarantee: Float64[np.ndarray, " n"]
    given_up: Int64[np.ndarray, " g"]
    coupling: Int64[np.ndarray, "t 2"]
    mass: Float64[np.ndarray, " t"]


@dataclass(frozen=True, kw_only=True, eq=False)
class LeastFavourable:
    """A pair of distributions, each reachable by the adversary, that no classifier tells apart better.

    Parameters
    ----------
    pairs
        (t, 2) examples of the first and of the second class that send mass to a common point.
    mass
        (t, 2) what each sends there; mass not listed stays at its example.
    guarantee
        (n,) the posterior of the true label: optimal for every proper loss at once.
    """

    pairs: Int64[np.ndarray, "t 2"]
    mass: Float64[np.ndarray, "t 2"]
    guarantee: Float64[np.ndarray, " n"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Losses(Result):
    """Lower bounds of the adversarial losses of any soft classifier on the sample.

    For two classes they are attained. For more, pairs of examples alone are counted; larger sets
    whose balls meet could raise them.

    Parameters
    ----------
    radii
        The radii.
    cross_entropy
        In nats.
    brier
        Mean of (1 - q)^2, q the probability of the true label.
    """

    radii: tuple[Fraction, ...]
    cross_entropy: tuple[float, ...]
    brier: tuple[float, ...]

    def __str__(self) -> str:
        rows = [[f"{float(r):g}", c, b] for r, c, b in zip(self.radii, self.cross_entropy, self.brier, strict=True)]
        return text_table(["radius", "cross-entropy", "Brier"], rows)

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row per radius."""
        radii = [float(radius) for radius in self.radii]
        return arrow_table({"radius": radii, "cross_entropy": list(self.cross_entropy), "brier": list(self.brier)})

    def to_json(self) -> dict[str, Any]:
        """Return the bounds made of JSON's types."""
        return jsonable(self)


def optimum(data: Sample, graph: Conflicts, norm: str | None, position: int, radii: tuple[Fraction, ...]) -> Optimum:
    """Return the optimum at one radius of the curve, in the caller's order of examples."""
    level = graph.radii.index(radii[position])
    two = len(data.classes) == 2
    first = int(data.bounds[1]) if two else 0
    problem = two_classes(graph, data) if two else double_cover(graph)
    capacities = (data.capacity[:first], data.capacity[first:]) if two else (data.capacity, data.capacity)
    flow = Flow(problem, *capacities)
    flow.raise_to(level)
    reached, reached_right = flow.reached()
    if two:
        q = np.concatenate([reached, ~reached_right]).astype(np.float64)
    else:
        core = core_of(graph, level, ~reached & ~reached_right, data.labels)
        q = soft_optimum(data, norm, radii[position], core, reached, STANDARD).q
    q = data.to_caller(q)
    pairs = flow.coupling()
    return Optimum(
        radius=radii[position],
        guarantee=q,
        given_up=np.flatnonzero(q < 1.0),
        coupling=data.order[np.stack([pairs.left, pairs.right + first], axis=1)],
        mass=pairs.amount / data.total / (1 if two else 2),
    )


def least_favourable(data: Sample, graph: Conflicts, level: int) -> LeastFavourable:
    """Return the least favourable pair of two classes at a level."""
    first = _first_of_two(data)
    capacity, total = coarse(data.capacity, data.total)
    found = partition(two_classes(graph, data), level, capacity[:first], capacity[first:])
    return LeastFavourable(
        pairs=data.order[found.moves + np.array([0, first])],
        mass=found.moved / total,
        guarantee=data.to_caller(np.concatenate([found.left, found.right])),
    )


def losses(data: Sample, graph: Conflicts, radii: tuple[Fraction, ...]) -> Losses:
    """Return the least cross-entropy and Brier score over pairs of examples at each radius.

    For more classes the pairs' program is that of the double cover, halved: its two copies of q are
    averaged, which keeps every pair's sum at most 1 and, the losses being convex, costs nothing.
    """
    capacity, total = coarse(data.capacity, data.total)
    two, first = len(data.classes) == 2, int(data.bounds[1])
    problem = two_classes(graph, data) if two else double_cover(graph)
    sides = (capacity[:first], capacity[first:]) if two else (capacity, capacity)
    entropies, scores = [], []
    for radius in radii:
        found = partition(problem, graph.radii.index(radius), *sides)
        q = np.concatenate([found.left, found.right]) if two else (found.left + found.right) / 2.0
        entropies.append(cross_entropy(q, capacity, total))
        scores.append(brier(q, capacity, total))
    return Losses(radii=radii, cross_entropy=tuple(entropies), brier=tuple(scores))


def _first_of_two(data: Sample) -> int:
    if len(data.classes) != 2:
        raise InputError(
            f"the sample has {len(data.classes)} classes; the least favourable pair is one of two. "
            "Select the examples of two classes first."
        )
    return int(data.bounds[1])
