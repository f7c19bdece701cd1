"""What attains the optimum on a sample: a cover, a coupling, guarantees, and a classifier that keeps them."""

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from epsball.ball import Ball, NormName
from epsball.errors import InputError
from epsball.limits.conflicts.graph import Conflicts
from epsball.limits.conflicts.problem import Problem
from epsball.limits.conflicts.sample import Sample
from epsball.limits.flow.bipartite import bipartite, sides
from epsball.limits.flow.flow import Flow
from epsball.limits.flow.proper_losses import brier, coarse, cross_entropy, partition
from epsball.limits.hyperedges.half_integral import half_integral
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
        Examples with q < 1; for two classes a minimum vertex cover, without which the risk is 0.
    coupling
        (t, 2) pairs of conflicting examples: an optimal adversary moves mass of both to a common
        point, such as their midpoint. More than two classes: over pairs, each mass counted half.
    mass
        (t,) the mass moved from each of the two; it sums to the risk for two classes.

    Examples
    --------
    >>> from epsball.limits import optimal_risk
    >>> best = optimal_risk(np.array([[0.0], [2.0], [9.0]]), np.array([0, 1, 1]), radii=[1]).optimum(1)
    >>> best.guarantee.tolist(), best.given_up.tolist(), best.coupling.tolist()
    ([0.0, 1.0, 1.0], [0], [[0, 1]])
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

    Examples
    --------
    >>> from epsball.limits import optimal_risk
    >>> pair = optimal_risk(np.array([[0.0], [2.0], [9.0]]), np.array([0, 1, 1]), radii=[1]).least_favourable(1)
    >>> pair.pairs.tolist(), pair.guarantee.tolist()
    ([[0, 1]], [0.5, 0.5, 1.0])
    """

    pairs: Int64[np.ndarray, "t 2"]
    mass: Float64[np.ndarray, "t 2"]
    guarantee: Float64[np.ndarray, " n"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Losses(Result):
    """Lower bounds of the adversarial losses of any soft classifier on the sample.

    For two classes they are attained. For more only pairs of examples are counted; larger sets whose
    balls meet could raise them.

    Parameters
    ----------
    radii
        The radii.
    cross_entropy
        In nats.
    brier
        Mean of (1 - q)^2, q the probability of the true label.

    Examples
    --------
    >>> from epsball.limits import optimal_risk
    >>> print(optimal_risk(np.array([[0.0], [2.0]]), np.array([0, 1]), radii=["0.5", 1]).losses())
    radius  cross-entropy   Brier
    ------  -------------  ------
    0.5            0.0000  0.0000
    1              0.6931  0.2500
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


def optimum(problem: Problem, radius: Fraction) -> Optimum:
    """Return the optimum at one radius of the grid, in the caller's order of examples."""
    data, graph, level = problem.sample, problem.exact, problem.radii.index(radius)
    two = len(data.classes) == 2
    (network,) = bipartite(data, [graph])
    flow = Flow(network, *sides(data, data.capacity))
    flow.raise_to(level)
    reached, reached_right = flow.reached()
    if two:
        q = np.concatenate([reached, ~reached_right]).astype(np.float64)
    else:
        part = half_integral(graph, level, ~reached & ~reached_right, data.labels)
        q = soft_optimum(data, problem.joint_norm, radius, part, reached, STANDARD).q
    q = data.to_caller(q)
    pairs = flow.coupling()
    return Optimum(
        radius=radius,
        guarantee=q,
        given_up=np.flatnonzero(q < 1.0),
        coupling=data.order[np.stack([pairs.left, pairs.right + network.offset], axis=1)],
        mass=pairs.amount / data.total / (1 if two else 2),
    )


def least_favourable(problem: Problem, radius: Fraction) -> LeastFavourable:
    """Return the least favourable pair of two classes at one radius of the grid."""
    data = problem.sample
    if len(data.classes) != 2:
        raise InputError(
            f"the sample has {len(data.classes)} classes; the least favourable pair is one of two. "
            "Select the examples of two classes first."
        )
    capacity, total = coarse(data.capacity, data.total)
    (graph,) = bipartite(data, [problem.exact])
    found = partition(graph, problem.radii.index(radius), *sides(data, capacity))
    return LeastFavourable(
        pairs=data.order[found.moves + np.array([0, graph.offset])],
        mass=found.moved / total,
        guarantee=data.to_caller(np.concatenate([found.left, found.right])),
    )


def losses(data: Sample, graph: Conflicts, radii: tuple[Fraction, ...]) -> Losses:
    """Return the least cross-entropy and Brier score over pairs of examples at each radius.

    For more classes the pairs' program is that of the double cover, halved: its two copies of q are
    averaged, which keeps every pair's sum at most 1 and, the losses being convex, costs nothing.
    """
    capacity, total = coarse(data.capacity, data.total)
    (problem,) = bipartite(data, [graph])
    two, entropies, scores = len(data.classes) == 2, [], []
    for radius in radii:
        found = partition(problem, graph.radii.index(radius), *sides(data, capacity))
        q = np.concatenate([found.left, found.right]) if two else (found.left + found.right) / 2.0
        entropies.append(cross_entropy(q, capacity, total))
        scores.append(brier(q, capacity, total))
    return Losses(radii=radii, cross_entropy=tuple(entropies), brier=tuple(scores))


@dataclass(frozen=True, kw_only=True, eq=False)
class RandomisedClassifier:
    """Answers class c at z with probability at least the largest q_i of the examples of class c whose ball holds z.

    Its adversarial risk on the sample is 1 - sum_i w_i q_i; outside all balls every class is equally likely.

    Parameters
    ----------
    x, y
        (n, ...) centres and (n,) class numbers 0..C-1 of the sample.
    norm, radius
        The balls.
    guarantee
        (n,) feasible guarantees q, such as `Optimum.guarantee`.

    Examples
    --------
    >>> classifier = randomised_classifier(
    ...     torch.tensor([[0.0], [2.0]]), torch.tensor([0, 1]), "l2", Fraction(1), np.array([0.25, 0.75])
    ... )
    >>> classifier(torch.tensor([[1.0], [9.0]])).tolist()
    [[0.25, 0.75], [0.5, 0.5]]
    """

    x: Float[Tensor, "n *shape"]
    y: Int64[np.ndarray, " n"]
    norm: NormName
    radius: Fraction
    guarantee: Float64[np.ndarray, " n"]

    def __call__(self, z: Float[Tensor, "m *shape"]) -> Float64[np.ndarray, "m c"]:
        """Return the probabilities of the classes at the points z.

        Raises
        ------
        InputError
            If the guarantees at a point sum to more than one over the classes whose balls hold it.
        """
        ball = Ball(self.norm, self.radius, None, None)
        floor = np.zeros((len(z), int(self.y.max()) + 1))
        for i in np.flatnonzero(self.guarantee > 0.0):
            centre = self.x[int(i)].expand_as(z)
            inside = ball.contains(z, centre.to(z.dtype)).numpy()
            c = self.y[i]
            floor[inside, c] = np.maximum(floor[inside, c], self.guarantee[i])
        left = 1.0 - floor.sum(axis=1, keepdims=True)
        if left.min(initial=0.0) < -1e-6:
            raise InputError(
                f"the guarantees sum to {1.0 - left.min():.6f} at a point; over classes whose balls meet "
                "they must sum to at most one."
            )
        return floor + np.clip(left, 0.0, None) / floor.shape[1]


def randomised_classifier(
    x: Tensor, y: Tensor, norm: NormName, radius: Fraction, guarantee: Float64[np.ndarray, " n"]
) -> RandomisedClassifier:
    """Return the classifier that keeps the guarantees, over the labels of `y` in increasing order.

    Parameters
    ----------
    x, y
        The sample, as given to `optimal_risk` (floats).
    norm, radius, guarantee
        The balls and the guarantees.

    Examples
    --------
    >>> x, y = torch.tensor([[0.0], [2.0]]), torch.tensor([0, 1])
    >>> classifier = randomised_classifier(x, y, "l2", Fraction(1), np.array([0.25, 0.75]))
    >>> classifier(torch.tensor([[1.0], [2.5]])).tolist()
    [[0.25, 0.75], [0.125, 0.875]]
    """
    classes = torch.unique(y)
    return RandomisedClassifier(
        x=x, y=torch.searchsorted(classes, y).numpy(), norm=norm, radius=radius, guarantee=guarantee
    )
