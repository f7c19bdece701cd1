from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from epsball.limits import optimal_risk, prior_weights
from limits.oracles import best_of_all_classifiers, conflict_matrix, free_choices

NORMS = st.sampled_from(["linf", "l2", "l1"])
SEEDS = st.integers(0, 10_000)


def tiny(seed: int, n: int = 9, d: int = 2, levels: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    y[:2] = 0, 1
    return rng.integers(0, levels, (n, d)).astype(np.uint8), y


@given(SEEDS, NORMS)
def test_no_classifier_beats_it_and_one_reaches_it(seed, norm):
    x, y = tiny(seed)
    radii = [Fraction(k, 510) for k in (1, 2, 4, 5, 9)]
    result = optimal_risk(x, y, norm=norm, radii=radii)
    for radius, limit in zip(radii, result.curve, strict=True):
        conflict = conflict_matrix(x, y, norm, radius)
        least = best_of_all_classifiers(conflict, np.full(len(y), 1 / len(y)))
        assert limit.risk.value == pytest.approx(least, abs=1e-12)
        assert limit.exact
        assert limit.conflicts == conflict.sum() // 2


@settings(max_examples=25)
@given(SEEDS, NORMS)
def test_weights_and_priors(seed, norm):
    x, y = tiny(seed)
    raw = np.random.default_rng(seed).integers(0, 7, len(y)) + 1
    weights = [Fraction(int(w), int(raw.sum())) for w in raw]
    radius = Fraction(5, 510)
    conflict = conflict_matrix(x, y, norm, radius)
    expected = best_of_all_classifiers(conflict, np.array([float(w) for w in weights]))
    for given_weights in (weights, np.array([float(w) for w in weights])):
        result = optimal_risk(x, y, norm=norm, radii=[radius], weights=given_weights)
        assert result.curve[0].risk.value == pytest.approx(expected, abs=1e-12)
    equal = prior_weights(y, {0: "1/2", 1: Fraction(1, 2)})
    result = optimal_risk(x, y, norm=norm, radii=[radius], weights=equal)
    expected = best_of_all_classifiers(conflict, np.array([float(w) for w in equal]))
    assert result.curve[0].risk.value == pytest.approx(expected, abs=1e-12)


def test_weights_without_a_common_denominator_state_their_gap():
    x, y = tiny(3)
    raw = np.random.default_rng(0).random(len(y))
    limit = optimal_risk(x, y, radii=[Fraction(5, 510)], weights=raw / raw.sum()).curve[0]
    expected = best_of_all_classifiers(conflict_matrix(x, y, "l2", limit.radius), raw / raw.sum())
    assert limit.risk.interval.low - 1e-15 <= expected <= limit.risk.interval.high + 1e-15
    assert limit.risk.interval.high - limit.risk.interval.low < 1e-14


@settings(max_examples=25)
@given(SEEDS)
def test_at_radius_zero_it_is_total_variation(seed):
    x, y = tiny(seed, n=40, d=1, levels=5)
    weights = prior_weights(y, {0: "1/2", 1: "1/2"})
    histograms = [np.bincount(x[y == c, 0], minlength=5) / (y == c).sum() for c in (0, 1)]
    variation = 0.5 * np.abs(histograms[0] - histograms[1]).sum()
    limit = optimal_risk(x, y, radii=[0], weights=weights).curve[0]
    assert limit.risk.value == pytest.approx(0.5 * (1.0 - variation), abs=1e-12)
    assert limit.excess == 0.0


@settings(max_examples=15)
@given(SEEDS, NORMS)
def test_monotone_and_blind_to_order(seed, norm):
    x, y = tiny(seed, n=40, d=3, levels=30)
    radii = [Fraction(k, 510) for k in (2, 7, 12, 20)]
    result = optimal_risk(x, y, norm=norm, radii=radii)
    values = [limit.risk.value for limit in result.curve]
    assert values == sorted(values)
    rng = np.random.default_rng(seed)
    rows, columns = rng.permutation(40), rng.permutation(3)
    other = optimal_risk(x[rows][:, columns], 1 - y[rows], norm=norm, radii=radii)
    assert [limit.risk.value for limit in other.curve] == values
    assert (other.hard == result.hard[:, rows]).all()


@settings(max_examples=25)
@given(SEEDS)
def test_status_is_what_all_minimum_covers_agree_on(seed):
    x, y = tiny(seed, n=10, levels=10)
    radius = Fraction(4, 510)
    conflict = conflict_matrix(x, y, "l2", radius)
    result = optimal_risk(x, y, radii=[radius])
    free = free_choices(conflict)
    optimal = free[free.sum(axis=1) == free.sum(axis=1).max()]
    expected = np.where(optimal.all(axis=0), 0, np.where((~optimal).all(axis=0), 2, 1))
    assert (result.hard[0] == expected).all()


@settings(max_examples=25)
@given(SEEDS, NORMS)
def test_without_the_cover_the_risk_is_zero(seed, norm):
    x, y = tiny(seed, n=60, d=3, levels=40)
    radius = Fraction(15, 510)
    result = optimal_risk(x, y, norm=norm, radii=[radius])
    best = result.optimum(radius)
    assert len(best.given_up) / len(y) == pytest.approx(result.curve[0].risk.value)
    assert best.mass.sum() == pytest.approx(result.curve[0].risk.value)
    conflict = conflict_matrix(x, y, norm, radius)
    assert conflict[best.coupling[:, 0], best.coupling[:, 1]].all()
    kept = np.setdiff1d(np.arange(len(y)), best.given_up)
    if len(np.unique(y[kept])) == 2:
        assert optimal_risk(x[kept], y[kept], norm=norm, radii=[radius]).curve[0].risk.value == 0.0


def test_duplicates_with_conflicting_labels():
    x = np.zeros((6, 2), np.uint8)
    result = optimal_risk(x, np.array([0, 0, 1, 0, 0, 0]), radii=[0, 1])
    assert [limit.risk.value for limit in result.curve] == pytest.approx([1 / 6, 1 / 6])
    assert [limit.excess for limit in result.curve] == [0.0, 0.0]


def test_overlap_alone_need_not_raise_the_risk():
    """design.md 11: the chapter's 17.6.2 calls it strict whenever neighbourhoods overlap."""
    result = optimal_risk(np.array([[0.0], [1.0], [0.0], [10.0]]), np.array([0, 0, 1, 1]), radii=[0, "1/2"])
    assert [limit.risk.value for limit in result.curve] == [0.25, 0.25]


def test_tensor_array_and_float_pixels_agree():
    x, y = tiny(5, n=30, d=4, levels=256)
    radii = [Fraction(16, 510), Fraction(64, 510), Fraction(90, 510)]
    floats = torch.from_numpy(x).float() / 255
    forms = [x, torch.from_numpy(x), floats, x.reshape(30, 1, 2, 2)]
    curves = [[limit.risk.value for limit in optimal_risk(form, y, radii=radii).curve] for form in forms]
    assert all(curve == curves[0] for curve in curves)


def test_undecided_float_pairs_are_not_conflicts():
    """0.1 + 0.2 against 0.3: the gap of the two float64 numbers is not decided at the last bit."""
    x = np.array([[0.1 + 0.2], [0.3 + 1.1]])
    gap = Fraction(0.3 + 1.1) - Fraction(0.1 + 0.2)
    touching = optimal_risk(x, np.array([0, 1]), radii=[gap / 2], norm="l2").curve[0]
    assert touching.risk.value == 0.0
    assert touching.doubtful == 1
    assert not touching.exact
    assert touching.risk.interval.high == touching.deterministic.high == 0.5
    wider = optimal_risk(x, np.array([0, 1]), radii=[gap / 2 * (1 + Fraction(1, 2**40))], norm="l2").curve[0]
    assert wider.risk.value == 0.5
    assert wider.doubtful == 0


@settings(max_examples=25)
@given(SEEDS, NORMS, st.integers(2, 3))
def test_undecided_pairs_raise_the_upper_end(seed, norm, classes):
    """Radii at half of a pair's own distance: float rounding leaves such pairs open, fractions do not."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(9, 2)).astype(np.float32), np.arange(9) % classes
    exact = [[[abs(Fraction(float(a)) - Fraction(float(b))) for a, b in zip(p, q, strict=True)] for q in x] for p in x]
    keys = [[max(g) if norm == "linf" else sum(t ** (1 + (norm == "l2")) for t in g) for g in row] for row in exact]
    reach = Fraction(float(np.sqrt(float(keys[0][1])))) if norm == "l2" else keys[0][1]
    conflict = np.array([[key <= reach ** (1 + (norm == "l2")) for key in row] for row in keys])
    conflict &= y[:, None] != y[None, :]
    limit = optimal_risk(x, y, norm=norm, radii=[reach / 2]).curve[0]
    best = best_of_all_classifiers(conflict, np.full(9, 1 / 9))
    assert limit.risk.value <= best + 1e-12
    assert best <= limit.deterministic.high + 1e-12
    if classes == 2:
        assert best <= limit.risk.interval.high + 1e-12


def test_a_rule_of_the_caller():
    x, y = tiny(8, n=50, d=3, levels=60)
    radii = [Fraction(8, 510), Fraction(24, 510)]

    def boxes(a: np.ndarray, b: np.ndarray, radius: Fraction) -> np.ndarray:
        gaps = np.abs(a[:, None].astype(float) - b[None].astype(float)).max(axis=2)
        return (gaps * 255).round() <= 2 * radius * 255

    ours = optimal_risk(x, y, norm="linf", radii=radii)
    theirs = optimal_risk(x, y, norm="linf", radii=radii, meets=boxes)
    assert [a.risk.value for a in theirs.curve] == [a.risk.value for a in ours.curve]
    assert theirs.norm == "boxes"
