"""More than two classes: the soft optimum, a linear program whose hyperedges are found lazily.

maximise sum_i w_i q_i  subject to  sum_{i in e} q_i <= 1 for every hyperedge e,  0 <= q <= 1;
the optimal risk is 1 - that maximum. With pairs alone the double cover solves it: q is 1 on the
`safe`, 0 on the `given up` and 1/2 on the rest, the half-integral part. Adding larger hyperedges
leaves the first two as they are (each given-up example is paid for by safe neighbours, as in
Nemhauser and Trotter's theorem for integers), so only that part enters a linear program, and only
where a hyperedge is violated. The duals, repaired in float64, bound the risk from below whatever
the solver did.

References
----------
Dai, Ding, Bhagoji, Cullina, Zhao, Zheng and Mittal, "Characterizing the optimal 0-1 loss for
multi-class classification with a test-time attacker", NeurIPS 2023. Nemhauser and Trotter,
"Vertex packings: structural properties and algorithms", Mathematical Programming 8 (1975).
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Float64

from epsball.ball import NormName
from epsball.limits.conflicts.sample import Sample
from epsball.limits.hyperedges.half_integral import HalfIntegral, independent_set
from epsball.limits.hyperedges.packing import Packing
from epsball.limits.hyperedges.separation_oracle import PROVED, TOLERANCE, SeparationOracle
from epsball.progress import report

Vector = Float64[np.ndarray, " c"]

_CLOSED = 1e-8


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long hyperedges are searched at one radius before a gap is stated instead.

    Counts, not seconds, so that the result is the same on every machine.

    Parameters
    ----------
    rounds
        Linear programs solved, at most.
    sets
        Sets of examples looked at, in all rounds together.
    entries
        Members of all sets in a linear program together.

    Examples
    --------
    >>> Effort(rounds=5)
    Effort(rounds=5, sets=10000000, entries=1000000)
    """

    rounds: int = 60
    sets: int = 10_000_000
    entries: int = 1_000_000


STANDARD = Effort()

BRIEF = Effort(rounds=10, sets=500_000, entries=200_000)
"""An audit states a gap where hyperedges are many; `optimal_risk` itself searches longer."""


@dataclass(frozen=True, kw_only=True)
class SoftOptimum:
    """The soft optimum of a sample at one radius, bracketed.

    Parameters
    ----------
    low, high
        Bounds of the optimal risk; equal up to rounding where it is exact. `high` is at most the
        risk of the best deterministic classifier found.
    deterministic
        The risk of some deterministic classifier.
    representable
        Lower bound from the sets whose balls surely share a float.
    q
        (n,) guaranteed probability of the true label, feasible: its risk is `high`, if not `deterministic`.
    """

    low: float
    high: float
    deterministic: float
    representable: float
    q: Float64[np.ndarray, " n"]


def soft_optimum(
    data: Sample,
    norm: NormName | None,
    radius: Fraction,
    part: HalfIntegral,
    safe: Bool[np.ndarray, " n"],
    effort: Effort,
) -> SoftOptimum:
    """Return the soft optimum over all hyperedges, or a bracket where the effort ran out.

    `norm` None: a caller's rule says nothing about joint intersections, so only pairs are counted.
    """
    weights = data.capacity[part.members].astype(np.float64)
    kept = independent_set(part, weights)
    settled = math.fsum(data.capacity[safe])
    deterministic = 1.0 - (settled + math.fsum(weights[kept])) / data.total
    if norm is None:
        half = 0.5 * math.fsum(weights)
        found = _Packed(most=half, most_representable=half, q=kept.astype(np.float64))
    else:
        found = _cutting_planes(SeparationOracle(data, norm, radius, part, effort.sets), weights, kept, effort)
    q = np.where(safe, 1.0, 0.0)
    q[part.members] = found.q
    low, representable = (
        max(0.0, 1.0 - (settled + most) / data.total) for most in (found.most, found.most_representable)
    )
    high = min(deterministic, 1.0 - math.fsum(data.capacity * q) / data.total)
    return SoftOptimum(low=low, high=max(low, high), deterministic=deterministic, representable=representable, q=q)


@dataclass(frozen=True, kw_only=True)
class _Packed:
    """Upper bounds of sum_i w_i q_i over the part, with all sets and with those that surely share a float."""

    most: float
    most_representable: float
    q: Float64[np.ndarray, " c"]


def _cutting_planes(oracle: SeparationOracle, weights: Vector, kept: Bool[np.ndarray, " c"], effort: Effort) -> _Packed:
    """Add violated pairs and hyperedges until none is left, first those that surely share a float."""
    part = oracle.part
    q = np.full(len(part), 0.5)
    cuts, ceiling = oracle.violated(q)
    best = max(kept.astype(np.float64), _scaled(q, ceiling), key=weights.dot)
    most = most_representable = 0.5 * math.fsum(weights)
    program = Packing(weights)
    pairs, sure = _spanning(part) if cuts else [], True
    cuts += oracle.disjoint() if cuts else []
    for turn in range(effort.rounds):
        added = [members for members in cuts if oracle.surely_share_float(members)] if sure else cuts
        if sure and not added and not pairs:
            sure, added, most_representable = False, cuts, most
        ends = most - float(weights @ best) <= _CLOSED * math.fsum(weights)
        if ends or not (added or pairs) or program.entries > effort.entries or oracle.left <= 0:
            break
        report(f"hyperedges at radius {float(oracle.radius):g}", turn, effort.rounds)
        program.add(pairs + added)
        q, bound = program.solve()
        most = min(most, bound)
        pairs = _violated_pairs(part, q)
        cuts, ceiling = oracle.violated(q)
        best = max(best, _scaled(q, ceiling), key=weights.dot)
    return _Packed(most=most, most_representable=most if sure else most_representable, q=best)


def _scaled(q: Vector, ceiling: float) -> Vector:
    """Return guarantees that keep every hyperedge: q over the ceiling of their sums."""
    # Halves sum to 1 in pairs, and a larger set of them would exceed PROVED by far.
    return q if q.max(initial=0.0) <= 0.5 and ceiling <= PROVED else q / ceiling


def _violated_pairs(part: HalfIntegral, q: Vector) -> list[np.ndarray]:
    """Return the conflicts whose q sum to more than 1 + TOLERANCE, the worst first, at most two per example."""
    u, v = part.rows, part.neighbour
    violated = np.flatnonzero(q[u] + q[v] > 1.0 + TOLERANCE)
    worst = violated[np.argsort(-(q[u[violated]] + q[v[violated]]), kind="stable")[: 2 * len(part)]]
    return list(np.stack([u[worst], v[worst]], axis=1))


def _spanning(part: HalfIntegral) -> list[np.ndarray]:
    """Return one edge of each member, the pairs with which the program starts."""
    u, v = part.rows, part.neighbour
    first = np.full(len(part), -1)
    first[v] = np.arange(len(v))
    first[u] = np.arange(len(u))
    chosen = np.unique(first[first >= 0])
    return list(np.stack([u[chosen], v[chosen]], axis=1))
