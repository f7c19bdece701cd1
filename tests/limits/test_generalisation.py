"""From sample to distribution: coverage where the bound can fail, and the verdict on a rising sample."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow
from scipy.special import ndtri
from scipy.stats import binom

from epsball.errors import InputError
from epsball.limits.gaussian import MultivariateGaussian
from epsball.limits.generalisation import SampleCurve, distribution_bound, sample_curve

DRAWS = 4000


def covers(conflicts: list[tuple[int, int]], atoms: int) -> np.ndarray:
    """Return every way (a 0/1 row) to give up atoms so that no conflict is left."""
    rows = np.array(list(itertools.product((0.0, 1.0), repeat=atoms)))
    kept = [row for row in rows if all(row[i] or row[j] for i, j in conflicts)]
    return np.array(kept)


# Atoms (location and label), their probabilities, and which pairs of different label conflict.
DISTRIBUTIONS = {
    "one place, two labels": ([0.3, 0.7], [(0, 1)]),
    "three places in a chain": ([0.2, 0.2, 0.25, 0.35], [(0, 2), (1, 2), (1, 3)]),
    "rare conflicts": ([0.04, 0.46, 0.05, 0.45], [(0, 2), (0, 3)]),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("delta", [0.05, 0.3])
def test_bound_covers_on_atoms(name: str, delta: float) -> None:
    probabilities, conflicts = DISTRIBUTIONS[name]
    rows, n = covers(conflicts, len(probabilities)), 60
    true = (rows @ np.array(probabilities)).min()
    counts = np.random.default_rng(1).multinomial(n, probabilities, size=DRAWS)
    values = (counts @ rows.T).min(axis=1) / n
    weights = np.full(n, 1.0 / n)
    lows = lower_ends(values, weights, 1.0 - delta)
    assert (lows > true + 1e-12).mean() <= delta
    # Without its correction the sample's value would be above too often: the test can fail.
    assert (values > true + 1e-12).mean() > delta
    # And the correction is not idle: at the laxest confidence it is exceeded now and then.
    assert any(value - math.sqrt(math.log(1 / 0.9) / (2 * n)) > true for value in values)


@pytest.mark.parametrize("delta", [0.05, 0.3])
def test_bound_covers_with_class_weights(delta: float) -> None:
    """Classes drawn 40 and 10 times, weighted to equal priors, on two places."""
    n0, n1, p0, p1 = 40, 10, 0.8, 0.3
    true = 0.5 * min(p0, p1) + 0.5 * min(1.0 - p0, 1.0 - p1)
    generator = np.random.default_rng(4)
    q0, q1 = generator.binomial(n0, p0, DRAWS) / n0, generator.binomial(n1, p1, DRAWS) / n1
    values = 0.5 * np.minimum(q0, q1) + 0.5 * np.minimum(1.0 - q0, 1.0 - q1)
    weights = np.repeat([0.5 / n0, 0.5 / n1], [n0, n1])
    lows = lower_ends(values, weights, 1.0 - delta)
    assert (lows > true + 1e-12).mean() <= delta
    assert (values > true + 1e-12).mean() > delta


def lower_ends(values: np.ndarray, weights: np.ndarray, confidence: float) -> np.ndarray:
    distinct, where = np.unique(values, return_inverse=True)
    intervals = [distribution_bound(value, weights, confidence).interval for value in distinct.tolist()]
    return np.array([interval.low for interval in intervals])[where]


@given(st.floats(0.0, 1.0), st.integers(1, 10_000), st.floats(0.5, 0.999))
def test_bound_is_the_printed_formula(value: float, n: int, confidence: float) -> None:
    bound = distribution_bound(value, np.full(n, 1.0 / n), confidence)
    width = math.sqrt(math.log(1.0 / (1.0 - confidence)) / (2.0 * n))
    assert bound.interval is not None
    assert bound.interval.low == pytest.approx(max(0.0, value - width), abs=1e-12)
    assert (bound.value, bound.interval.high, bound.scope) == (value, 1.0, "distribution")


def test_bound_of_the_published_example() -> None:
    bound = distribution_bound(0.0178, np.full(12_396, 1.0 / 12_396))
    assert str(bound) == "0.0178 [0.0068, 1.0000]"


@pytest.mark.parametrize(
    ("value", "weights", "confidence", "message"),
    [
        (1.2, [0.5, 0.5], 0.95, "optimal risk is 1.2"),
        (0.2, [0.5, 0.6], 0.95, "sum 1.1"),
        (0.2, [1.5, -0.5], 0.95, "minimum -0.5"),
        (0.2, [0.5, math.nan], 0.95, "nan"),
        (0.2, [], 0.95, "sum 0"),
        (0.2, [0.5, 0.5], 1.0, "confidence is 1.0"),
    ],
)
def test_wrong_input_is_refused(value: float, weights: list[float], confidence: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        distribution_bound(value, np.array(weights), confidence)


def matching_risk(conflict: np.ndarray) -> float:
    """Return the share of matched pairs: the sample's optimal risk, all examples alike."""
    n0, n1 = conflict.shape
    i, j = np.nonzero(conflict)
    source, sink = n0 + n1, n0 + n1 + 1
    rows = np.concatenate([i, np.full(n0, source), n0 + np.arange(n1)])
    columns = np.concatenate([n0 + j, np.arange(n0), np.full(n1, sink)])
    graph = csr_array((np.ones(len(rows), np.int32), (rows, columns)), shape=(sink + 1, sink + 1))
    return maximum_flow(graph, source, sink, method="dinic").flow_value / (n0 + n1)


def gaussian_curve_of(d: int, per_class: int, true: float, seed: int) -> SampleCurve:
    """Return the curve of one sample from two round Gaussians with L* = `true` at radius 1."""
    half = 1.0 - ndtri(true)
    means = np.zeros((2, d))
    means[:, 0] = -half, half
    assert MultivariateGaussian(means=means, covariance=np.eye(d)).optimum("l2", 1.0).risk == pytest.approx(true)
    y = np.repeat([0, 1], per_class)
    x = means[y] + np.random.default_rng(seed).standard_normal((2 * per_class, d))

    def risk(index: np.ndarray) -> np.ndarray:
        a, b = x[index][y[index] == 0], x[index][y[index] == 1]
        squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2.0 * a @ b.T
        return np.array([matching_risk(squares <= 4.0)])

    return sample_curve(risk, risk(np.arange(len(y))), y, np.ones(1), seed=seed)


def share_of(verdict: str, d: int, per_class: int, true: float, samples: int) -> float:
    curves = [gaussian_curve_of(d, per_class, true, seed) for seed in range(samples)]
    return float(np.mean([curve.verdicts == (verdict,) for curve in curves]))


@pytest.mark.parametrize(("d", "per_class", "true"), [(1, 500, 0.1), (1, 300, 0.3), (2, 300, 0.2)])
def test_no_alarm_where_the_sample_suffices(d: int, per_class: int, true: float) -> None:
    assert share_of("steady", d, per_class, true, samples=25) >= 0.95


@pytest.mark.parametrize(("d", "per_class", "true"), [(5, 600, 0.1), (10, 400, 0.3), (12, 400, 0.4)])
def test_alarm_where_the_sample_is_not_an_estimate(d: int, per_class: int, true: float) -> None:
    assert gaussian_curve_of(d, per_class, true, seed=0).values[2, 0] < 0.65 * true
    assert share_of("rising", d, per_class, true, samples=20) >= 0.8


@pytest.mark.parametrize("pairs", [11, 12, 16, 17, 30, 100, 300])
def test_both_error_rates_of_the_verdict(pairs: int) -> None:
    """Where pairs are lost independently: at most 5% alarms at a share of 5%, 95% at a share of 1/2."""
    lost = np.arange(pairs + 1)
    full = np.full(len(lost), pairs / 1000)
    curve = sample_curve(lambda index: full - lost / 1000, full, np.zeros(1000, np.int64), lost * 1.0)
    rising = np.array(curve.verdicts) == "rising"
    assert binom.pmf(lost, pairs, 0.05)[rising].sum() <= 0.05
    assert binom.pmf(lost, pairs, 0.5)[rising].sum() >= 0.95


def test_under_eleven_pairs_no_verdict_could_be_sure() -> None:
    full = np.array([10 / 1000])
    curve = sample_curve(lambda index: 0.0 * full, full, np.zeros(1000, np.int64), np.ones(1))
    assert curve.verdicts == ("too few",)


def test_sparse_conflicts_in_high_dimension_are_noticed() -> None:
    """Where only chance pairs conflict, L*_n is proportional to n: the verdict must see it."""
    generator, noticed = np.random.default_rng(0), 0
    for seed in range(100):
        n, pairs = 400, 12
        y = np.repeat([0, 1], n // 2)
        partners = np.stack([generator.permutation(200)[:pairs], 200 + generator.permutation(200)[:pairs]])

        def risk(index: np.ndarray, partners: np.ndarray = partners) -> np.ndarray:
            return np.array([np.isin(partners, index).all(axis=0).sum() / len(index)])

        noticed += sample_curve(risk, np.array([pairs / n]), y, np.ones(1), seed=seed).verdicts == ("rising",)
    assert noticed >= 90


def test_zero_everywhere_says_nothing() -> None:
    curve = gaussian_curve_of(50, 40, 0.3, seed=0)
    assert curve.verdicts == ("too few",)
    assert curve.warning is not None
    assert "says nothing about the distribution" in curve.warning


def test_parts_are_disjoint_even_and_repeatable() -> None:
    y = np.array([0] * 101 + [1] * 43 + [2] * 9)
    seen: list[np.ndarray] = []

    def risk(index: np.ndarray) -> np.ndarray:
        seen.append(index)
        return np.zeros(2)

    curve = sample_curve(risk, np.zeros(2), y, np.array([0.0, 1.0]), seed=3)
    quarters, halves = seen[:4], seen[4:]
    assert sorted(np.concatenate(quarters).tolist()) == sorted(np.concatenate(halves).tolist()) == list(range(153))
    for part in quarters:
        counts = np.bincount(y[part], minlength=3)
        assert np.abs(counts - np.array([101, 43, 9]) / 4).max() <= 1.0
    again = sample_curve(risk, np.zeros(2), y, np.array([0.0, 1.0]), seed=3)
    assert all((a == b).all() for a, b in zip(seen[:6], seen[6:], strict=True))
    assert str(again) == str(curve)


@given(st.integers(0, 2**32 - 1))
def test_mean_over_parts_never_exceeds_the_whole(seed: int) -> None:
    generator = np.random.default_rng(seed)
    y, weights = generator.integers(0, 2, 24), generator.dirichlet(np.ones(24))
    place = generator.integers(0, 4, 24)

    def risk(index: np.ndarray) -> np.ndarray:
        mass = np.zeros((4, 2))
        np.add.at(mass, (place[index], y[index]), weights[index] / weights[index].sum())
        return np.array([mass.min(axis=1).sum()])

    quarter, half, full = sample_curve(risk, risk(np.arange(24)), y, np.zeros(1), weights=weights).values[:, 0]
    assert quarter <= half + 1e-12 <= full + 2e-12


def test_curve_prints_and_names_the_radii() -> None:
    curve = SampleCurve(
        radii=np.array([0.5, 1.0, 2.0]),
        sizes=(25, 50, 100),
        values=np.array([[0.0, 0.05, 0.3], [0.0, 0.1, 0.3], [0.01, 0.2, 0.3]]),
        pairs=np.array([1, 20, 30]),
        verdicts=("too few", "rising", "steady"),
    )
    assert curve.warning == (
        "The optimal risk still rises with the sample (0.05 at n = 25, 0.1 at n = 50, 0.2 at n = 100, "
        "radius 1) at radius 1: there it is no estimate of the distribution's, only the lower bound holds. "
        "Fewer than 11 pairs conflict at radius 0.5: too few to tell, and a value near 0 there says nothing "
        "about the distribution."
    )
    assert str(curve).splitlines()[3].split() == ["1.0000", "0.0500", "0.1000", "0.2000", "20", "rising"]
    assert curve.to_json()["warning"] == curve.warning
    assert curve.to_json()["sizes"] == [25, 50, 100]


def test_tiny_samples_are_refused() -> None:
    with pytest.raises(InputError, match="has 3 examples"):
        sample_curve(lambda index: np.zeros(1), np.zeros(1), np.array([0, 1, 1]), np.zeros(1))
