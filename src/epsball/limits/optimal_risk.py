"""`optimal_risk`: the least adversarial risk that any classifier can have on a sample."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import Float64

from epsball.ball import NormName
from epsball.interruption import carrying
from epsball.limits.conflicts.graph import Meets
from epsball.limits.conflicts.problem import Problem, check_memory, problem
from epsball.limits.conflicts.sample import sample
from epsball.limits.conflicts.thresholds import check_norm, parse_grid
from epsball.limits.generalisation import distribution_bound
from epsball.limits.hyperedges.soft_optimum import STANDARD, Effort
from epsball.limits.levels import Level, levels, pair_levels
from epsball.limits.result import Limit, OptimalRisk
from epsball.statistics import Bound, Interval


def optimal_risk(
    x: Any,
    y: Any,
    *,
    radii: Sequence[str | int | float | Fraction],
    norm: NormName = "l2",
    weights: Any = None,
    meets: Meets | None = None,
    confidence: float = 0.95,
    effort: Effort = STANDARD,
    max_memory: int | None = None,
) -> OptimalRisk:
    """Return the optimal adversarial risk of a sample for a grid of radii.

    L* = 1 - max sum_i w_i q_i over guarantees q_i in [0, 1] with sum q <= 1 over every set of
    examples of distinct labels whose balls share a point. For two classes that is the largest mass
    of a joint measure under both class measures supported on {d(x, x') <= 2 radius}; with equal
    priors, (1 - D) / 2.

    Parameters
    ----------
    x
        (n, ...) points: uint8 (k stands for k/255), or floats in pixel units. Floats that all are
        k/255, or k/2^m, count as integers too. An array, a tensor or a memory map.
    y
        (n,) integer labels of at least two classes.
    radii
        Increasing, in pixel units, exact as in `epsball.Ball`.
    norm
        linf, l2 or l1.
    weights
        (n,) weights of sum one; default 1/n. `prior_weights` makes them from class priors.
    meets
        ``meets(a, b, radius)``: another rule for which neighbourhoods share a point, on blocks of
        points, growing with the radius. With more than two classes only pairs are then counted.
    confidence
        Of the bound for the distribution, at each radius on its own.
    effort
        How long hyperedges are searched (more than two classes) before a gap is stated.
    max_memory
        Bytes; an estimate above it is an error before the work starts. Default: what this machine has.

    Raises
    ------
    InputError
        If data, labels, weights, radii or norm break a rule, or the memory would not suffice.
    KeyboardInterrupt
        If it is interrupted; its `partial` is the `OptimalRisk` at the radii finished before, None before the first.

    References
    ----------
    Bhagoji, Cullina and Mittal, "Lower bounds on adversarial robustness from optimal transport",
    NeurIPS 2019. Pydi and Jog, "Adversarial risk via optimal transport and optimal couplings",
    ICML 2020. Dai et al., NeurIPS 2023 (more than two classes).

    Examples
    --------
    Two of four points lie 2 apart and have different labels:

    >>> risk = optimal_risk(np.array([[0.0], [2.0], [9.0], [5.0]]), np.array([0, 1, 0, 1]), radii=["0.9", 1])
    >>> [limit.risk.value for limit in risk.curve]
    [0.0, 0.25]
    >>> risk.hard[1].tolist()
    [1, 1, 0, 0]
    """
    check_norm(norm)
    wanted = parse_grid(radii)
    grid = wanted if wanted[0] == 0 else (Fraction(0), *wanted)
    skipped = len(grid) - len(wanted)
    with carrying(lambda: None):
        data = sample(x, y, weights)
        check_memory(data, norm, grid, meets, max_memory)
        solved = problem(data, norm, grid, meets)
    found: list[Level] = []

    def result(pairs: Float64[np.ndarray, "k c c"], *, interrupted: bool) -> OptimalRisk:
        return OptimalRisk(
            norm=norm if meets is None else getattr(meets, "__name__", "rule"),
            classes=data.classes,
            curve=_curve(solved, found, confidence)[skipped:],
            pairs=pairs[skipped:],
            hard=data.to_caller(np.stack([level.status for level in found[skipped:]])),
            scope=f"L* of this sample: {len(data)} examples of {len(data.classes)} classes, norm {norm}",
            problem=solved,
            interrupted=interrupted,
        )

    def partial() -> OptimalRisk | None:
        unknown = np.full((len(found), len(data.classes), len(data.classes)), np.nan)
        return result(unknown, interrupted=True) if len(found) > skipped else None

    with carrying(partial):
        found.extend(levels(solved, effort))
        pairs = _pairs(solved, found)
    return result(pairs, interrupted=False)


def _curve(problem: Problem, levels: list[Level], confidence: float) -> tuple[Limit, ...]:
    """Return the limit at each radius of the problem, the first of which is 0."""
    exact = problem.exact
    conflicts = exact.counts()
    shares = problem.sample.capacity / problem.sample.total
    shares_of_one = shares / shares.sum()
    curve = []
    for i, level in enumerate(levels):
        undecided = int(exact.undecided_pairs[i])
        # A classifier that keeps all decided conflicts may still err on one end of each undecided pair.
        high, deterministic = (
            min(1.0, end + undecided * float(shares.max())) for end in (level.high, max(level.low, level.deterministic))
        )
        interval = Interval(level.low, max(level.low, high))
        limit = Limit(
            radius=exact.radii[i],
            risk=Bound(value=level.low, interval=interval, scope="dataset"),
            excess=level.low - levels[0].low,
            stored=level.representable,
            deterministic=Interval(level.low, max(level.low, deterministic)),
            distribution=distribution_bound(min(1.0, level.representable), shares_of_one, confidence),
            conflicts=int(conflicts[i]),
            doubtful=undecided,
        )
        curve.append(limit)
    return tuple(curve)


def _pairs(problem: Problem, levels: list[Level]) -> Float64[np.ndarray, "k c c"]:
    """Return the risks of the class pairs; two classes are their own pair."""
    if len(problem.sample.classes) > 2:
        return pair_levels(problem)
    alone = np.array([level.low for level in levels])[:, None, None]
    return alone * (1.0 - np.eye(2))
