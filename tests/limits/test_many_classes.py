from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from epsball.data import load
from epsball.limits import Effort, optimal_risk, randomised_classifier
from limits.oracles import best_of_all_classifiers, cliques, conflict_matrix, enclosing_square, integer_keys, soft_risk

SEEDS = st.integers(0, 10_000)


def small(seed: int, n: int, classes: int, d: int = 2, levels: int = 9) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    y[:classes] = np.arange(classes)
    return rng.integers(0, levels, (n, d)).astype(np.uint8), y


def hyperedges(x: np.ndarray, y: np.ndarray, norm: str, radius: Fraction) -> list[tuple[int, ...]]:
    found = cliques(conflict_matrix(x, y, norm, radius), len(np.unique(y)))
    if norm == "l2":
        square = (radius * 255) ** 2
        found = [m for m in found if len(m) == 2 or enclosing_square(x[list(m)]) <= square]
    return found


@settings(max_examples=25)
@given(SEEDS, st.sampled_from(["linf", "l2"]), st.integers(3, 5))
def test_equals_the_program_with_all_hyperedges(seed, norm, classes):
    x, y = small(seed, 12, classes)
    radii = [Fraction(k, 510) for k in (2, 3, 5)]
    result = optimal_risk(x, y, norm=norm, radii=radii)
    for limit in result.curve:
        expected = soft_risk(12, hyperedges(x, y, norm, limit.radius), np.full(12, 1 / 12))
        assert limit.risk.value == pytest.approx(expected, abs=2e-7)
        assert limit.risk.value <= limit.risk.interval.high
        assert limit.exact


@settings(max_examples=20)
@given(SEEDS)
def test_three_balls_of_l1_that_meet_in_pairs_meet_jointly(seed):
    x, y = small(seed, 14, 3, d=3)
    limit = optimal_risk(x, y, norm="l1", radii=[Fraction(6, 510)]).curve[0]
    expected = soft_risk(14, cliques(conflict_matrix(x, y, "l1", limit.radius), 3), np.full(14, 1 / 14))
    assert limit.risk.value == pytest.approx(expected, abs=2e-7)
    assert limit.exact


def test_four_balls_of_l1_may_meet_in_pairs_and_triples_only():
    """A regular simplex in the cube: distances 2, one common point of four balls only from radius 3/2."""
    x = np.array([[0, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1]], np.uint8)
    result = optimal_risk(x, np.arange(4), norm="l1", radii=[Fraction(1, 255), Fraction(31, 20 * 255)])
    apart, joint = result.curve
    assert apart.risk.value == pytest.approx(2 / 3, abs=2e-7)
    assert apart.risk.interval.high >= 2 / 3
    assert joint.risk.value == pytest.approx(3 / 4, abs=2e-7)


@pytest.mark.parametrize("size", [3, 4, 10])
def test_mutual_conflicts_in_linf_leave_one(size):
    """Triangles alone would give 2/3 for ten points; the clique gives 9/10."""
    x = np.eye(size, dtype=np.uint8) * 2
    limit = optimal_risk(x, np.arange(size), norm="linf", radii=[Fraction(1, 255)]).curve[0]
    assert limit.risk.value == pytest.approx(1 - 1 / size, abs=2e-7)
    assert limit.deterministic.high == pytest.approx(1 - 1 / size)
    assert limit.exact


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_where_all_conflict_only_the_largest_class_is_kept(norm):
    """Ten digits at half the width of the box: every transversal is a hyperedge, so no mixture helps."""
    x, y = load("digits")[:400]
    radius = "0.5" if norm == "linf" else "32"
    limit = optimal_risk(x, y, norm=norm, radii=[radius], effort=Effort(sets=500_000)).curve[0]
    best = 1 - max(np.bincount(y)) / len(y)
    assert limit.conflicts == sum(int((y != label).sum()) for label in y.tolist()) // 2
    assert limit.deterministic.high == pytest.approx(best, abs=1e-12)
    assert limit.risk.interval.low <= best + 1e-12
    if norm == "linf":
        assert limit.exact
        assert limit.risk.value == pytest.approx(best, abs=1e-7)


@settings(max_examples=15)
@given(SEEDS, st.integers(3, 5))
def test_a_rule_of_the_caller_counts_pairs(seed, classes):
    x, y = small(seed, 14, classes)
    radius = Fraction(3, 510)
    conflict = conflict_matrix(x, y, "linf", radius)

    def boxes(a: np.ndarray, b: np.ndarray, at: Fraction) -> np.ndarray:
        return (np.abs(a[:, None].astype(float) - b[None].astype(float)).max(axis=2) * 255).round() <= 510 * at

    result = optimal_risk(x, y, radii=[radius], meets=boxes)
    limit, best = result.curve[0], result.optimum(radius)
    pairs = [(int(u), int(v)) for u, v in zip(*np.nonzero(np.triu(conflict)), strict=True)]
    assert limit.risk.value == pytest.approx(soft_risk(14, pairs, np.full(14, 1 / 14)), abs=1e-9)
    # Its q must hold whichever pairs of the rule also meet jointly: those kept conflict with none kept.
    assert not conflict[np.ix_(best.guarantee == 1.0, best.guarantee == 1.0)].any()
    assert set(best.guarantee.tolist()) <= {0.0, 1.0}
    assert 1 - best.guarantee.mean() == pytest.approx(limit.risk.interval.high)
    assert conflict[best.coupling[:, 0], best.coupling[:, 1]].all()
    assert best.mass.sum() == pytest.approx(limit.risk.value)


def test_an_equilateral_triangle_meets_in_pairs_first():
    """Squared side 2: pairs meet at radius sqrt(1/2), all three at sqrt(2/3)."""
    x = np.eye(3, dtype=np.float64)
    result = optimal_risk(x, np.arange(3), radii=["0.70", "0.71", "0.81", "0.82"])
    expected = [0.0, 1 / 2, 1 / 2, 2 / 3]
    assert [limit.risk.value for limit in result.curve] == pytest.approx(expected, abs=2e-7)
    assert all(limit.exact for limit in result.curve)


@settings(max_examples=20)
@given(SEEDS)
def test_brackets_and_status(seed):
    x, y = small(seed, 11, 3)
    radius = Fraction(3, 510)
    result, weights = optimal_risk(x, y, norm="linf", radii=[radius]), np.full(11, 1 / 11)
    limit = result.curve[0]
    best = best_of_all_classifiers(conflict_matrix(x, y, "linf", radius), weights)
    assert limit.deterministic.low - 1e-12 <= best <= limit.deterministic.high + 1e-12
    assert limit.stored <= limit.risk.value + 1e-12
    every = hyperedges(x, y, "linf", radius)
    for i in range(11):
        # Forcing the opposite of the status must cost something.
        if result.hard[0, i] == 0:
            forced = soft_risk(11, [*every, (i,)], np.where(np.arange(11) == i, 0.0, weights))
            assert forced + 1 / 11 > limit.risk.value - 1e-6


@settings(max_examples=6)
@given(SEEDS)
def test_class_pairs_are_two_class_problems(seed):
    x, y = small(seed, 20, 4)
    radii = [Fraction(2, 510), Fraction(4, 510)]
    pairs = optimal_risk(x, y, radii=radii).pairs
    assert (pairs == pairs.transpose(0, 2, 1)).all()
    for a, b in combinations(range(4), 2):
        rows = (y == a) | (y == b)
        alone = optimal_risk(x[rows], y[rows], radii=radii)
        assert pairs[:, a, b].tolist() == pytest.approx([limit.risk.value for limit in alone.curve])


def test_an_effort_that_runs_out_states_a_gap():
    x = np.eye(10, dtype=np.uint8) * 2
    effort = Effort(rounds=0)
    limit = optimal_risk(x, np.arange(10), norm="linf", radii=[Fraction(1, 255)], effort=effort).curve[0]
    assert limit.risk.value == pytest.approx(1 / 2)
    assert limit.risk.interval.high == pytest.approx(9 / 10)
    assert not limit.exact
    limit = optimal_risk(x, np.arange(10), norm="linf", radii=[Fraction(1, 255)], effort=Effort(sets=3)).curve[0]
    assert limit.risk.value <= 9 / 10 <= limit.risk.interval.high + 1e-12


@settings(max_examples=20)
@given(SEEDS)
def test_the_randomised_classifier_keeps_its_guarantees(seed):
    x, y = small(seed, 12, 3, d=2, levels=6)
    radius = Fraction(2, 255)
    result = optimal_risk(x, y, norm="linf", radii=[radius])
    best = result.optimum(radius)
    assert 1 - best.guarantee.mean() == pytest.approx(result.curve[0].risk.value, abs=2e-7)
    centres = torch.from_numpy(x).double() / 255
    labels = torch.from_numpy(y)
    classifier = randomised_classifier(centres, labels, "linf", radius, best.guarantee)
    grid = torch.cartesian_prod(*[torch.arange(-2, 9, dtype=torch.float64)] * 2) / 255
    answers = classifier(grid)
    assert answers.sum(axis=1) == pytest.approx(np.ones(len(grid)))
    steps = integer_keys(np.concatenate([x + 2, np.round(grid.numpy() * 255).astype(int) + 2]), "linf")[:12, 12:]
    for i in range(12):
        inside = steps[i] < 2  # strictly inside, where rounding of centres decides nothing
        assert (answers[inside, y[i]] >= best.guarantee[i] - 1e-9).all()
