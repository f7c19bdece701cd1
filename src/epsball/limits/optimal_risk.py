"""`optimal_risk`: the least adversarial risk that any classifier can have on a sample."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from epsball.limits.conflicts.compressed_rows import level_counts
from epsball.limits.conflicts.graph import Conflicts, Meets, conflicts
from epsball.limits.conflicts.problem import check_memory
from epsball.limits.conflicts.representable import verified
from epsball.limits.conflicts.sample import Sample, sample
from epsball.limits.conflicts.thresholds import check_norm, parse_grid
from epsball.limits.generalisation import distribution_bound
from epsball.limits.hyperedges.soft_optimum import STANDARD, Effort
from epsball.limits.levels import Level, many_class_levels, pair_levels, two_class_levels
from epsball.limits.result import Limit, OptimalRisk
from epsball.statistics import Bound, Interval


def optimal_risk(
    x: Any,
    y: Any,
    *,
    radii: Sequence[str | int | float | Fraction],
    norm: str = "l2",
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

    References
    ----------
    Bhagoji, Cullina and Mittal, "Lower bounds on adversarial robustness from optimal transport",
    NeurIPS 2019. Pydi and Jog, "Adversarial risk via optimal transport and optimal couplings",
    ICML 2020. Dai et al., NeurIPS 2023 (more than two classes).
    """
    check_norm(norm)
    wanted = parse_grid(radii)
    grid = wanted if wanted[0] == 0 else (Fraction(0), *wanted)
    data = sample(x, y, weights)
    check_memory(data, norm, grid, meets, max_memory)
    graph = verified(conflicts(data, norm, grid, meets), data, norm)
    plain = replace(graph, active=graph.level)  # the data's own reading of ties
    two = len(data.classes) == 2
    levels = list(
        two_class_levels(data, graph) if two else many_class_levels(data, graph, None if meets else norm, effort)
    )
    present = level_counts(graph.level, len(grid)).cumsum()
    shares = data.capacity / data.total
    curve = [
        _limit(radius, level, levels[0].low, int(pairs), int(doubtful), shares, confidence)
        for radius, level, pairs, doubtful in zip(grid, levels, present, graph.doubtful, strict=True)
    ]
    skipped = len(grid) - len(wanted)
    return OptimalRisk(
        norm=norm if meets is None else getattr(meets, "__name__", "rule"),
        classes=data.classes,
        curve=tuple(curve[skipped:]),
        pairs=_pairs(data, plain, levels)[skipped:],
        hard=data.to_caller(np.stack([level.state for level in levels[skipped:]])),
        scope=f"L* of this sample: {len(data)} examples of {len(data.classes)} classes, norm {norm}",
        _sample=data,
        _graph=plain,
        _stored=graph,
        _joint=None if meets else norm,
    )


def _limit(
    radius: Fraction,
    level: Level,
    natural: float,
    pairs: int,
    doubtful: int,
    shares: np.ndarray,
    confidence: float,
) -> Limit:
    bound = distribution_bound(min(1.0, level.stored), shares / shares.sum(), confidence)
    # A classifier that keeps to the graph may still err on one end of each pair in doubt.
    high, deterministic = (
        min(1.0, end + doubtful * float(shares.max())) for end in (level.high, max(level.low, level.deterministic))
    )
    return Limit(
        radius=radius,
        risk=Bound(value=level.low, interval=Interval(level.low, max(level.low, high)), scope="dataset"),
        excess=level.low - natural,
        stored=level.stored,
        deterministic=Interval(level.low, max(level.low, deterministic)),
        distribution=bound,
        conflicts=pairs,
        doubtful=doubtful,
    )


def _pairs(data: Sample, graph: Conflicts, levels: list[Level]) -> np.ndarray:
    """Return the risks of the class pairs; two classes are their own pair."""
    if len(data.classes) > 2:
        return pair_levels(data, graph)
    alone = np.array([level.low for level in levels])[:, None, None]
    return alone * (1.0 - np.eye(2))
