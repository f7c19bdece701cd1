"""The univariate Gaussian model: transport, Monte Carlo, brute force and the formulas known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import linprog
from scipy.sparse import coo_array
from scipy.special import ndtr
from scipy.stats import norm

from epsball.errors import InputError
from epsball.limits.gaussian import IntervalRule, UnivariateGaussian, gaussian_curve
from epsball.statistics import clopper_pearson

unit = st.floats(0.0, 1.0)
radii = st.floats(0.0, 2.0)


@st.composite
def models(draw: st.DrawFn) -> UnivariateGaussian:
    prior = draw(st.floats(0.1, 0.9))
    return UnivariateGaussian(
        means=(draw(st.floats(-2.0, 2.0)), draw(st.floats(-2.0, 2.0))),
        variances=(draw(st.floats(0.25, 4.0)), draw(st.floats(0.25, 4.0))),
        priors=(1.0 - prior, prior),
    )


def transported(model: UnivariateGaussian, radius: float, cells: int = 140) -> tuple[float, float, float]:
    """Return the largest mass matched between cells that surely, and may, conflict; and a cell's width."""
    reach = 4.0 * np.sqrt(model.variances)
    ends = np.linspace((model.means - reach).min(), (model.means + reach).max(), cells - 1)
    ends = np.concatenate([[-np.inf], ends, [np.inf]])
    width = ends[2] - ends[1]
    masses = [model.priors[k] * np.diff(ndtr((ends - model.means[k]) / math.sqrt(model.variances[k]))) for k in (0, 1)]
    steps = np.abs(np.arange(cells)[:, None] - np.arange(cells)[None, :])
    tail = np.zeros((cells, cells), bool)
    tail[[0, -1], :] = tail[:, [0, -1]] = True
    surely = ~tail & ((steps + 1) * width <= 2.0 * radius)
    maybe = tail | ((steps - 1) * width <= 2.0 * radius)
    return matched(masses, surely), matched(masses, maybe), float(width)


def matched(masses: list[np.ndarray], conflict: np.ndarray) -> float:
    """Return the largest mass of a joint measure under the two, supported on the conflicts."""
    i, j = np.nonzero(conflict)
    if len(i) == 0:
        return 0.0
    edges = np.arange(len(i))
    rows, columns = np.concatenate([i, len(masses[0]) + j]), np.concatenate([edges, edges])
    incidence = coo_array((np.ones(2 * len(i)), (rows, columns)), shape=(2 * len(masses[0]), len(i)))
    return -linprog(-np.ones(len(i)), A_ub=incidence.tocsr(), b_ub=np.concatenate(masses), method="highs").fun


@settings(max_examples=12)
@given(models(), radii)
def test_transport_brackets_the_optimal_risk(model: UnivariateGaussian, radius: float) -> None:
    low, high, width = transported(model, radius)
    assert low - 1e-7 <= model.optimum(radius).risk <= high + 1e-7
    # Cells that may conflict surely do at a radius one width larger; the tails hold 1.3e-4 at most.
    assert high <= model.optimum(radius + width).risk + 2e-4
    assert radius < width or low >= model.optimum(radius - width).risk - 2e-4


@given(models(), radii, unit, unit, st.sampled_from([0, 1]))
def test_no_interval_rule_is_better(model: UnivariateGaussian, radius: float, a: float, b: float, inside: int) -> None:
    low, high = sorted((16.0 * a - 8.0, 16.0 * b - 8.0))
    for rule in (IntervalRule(low=low, high=high, inside=inside), IntervalRule(low=low, inside=inside)):
        assert model.risk(rule, radius) >= model.optimum(radius).risk - 1e-15


@pytest.mark.parametrize("radius", [0.0, 0.3, 0.99, 1.0, 1.01, 1.7, 40.0])
def test_equal_priors_and_variances(radius: float) -> None:
    model, sigma = UnivariateGaussian(means=(-0.5, 1.5), variances=(0.49, 0.49)), 0.7
    optimum = model.optimum(radius)
    assert optimum.risk == pytest.approx(ndtr(-max(1.0 - radius, 0.0) / sigma), abs=1e-15)
    if radius < 1.0:
        assert (optimum.rule.low, optimum.rule.high, optimum.rule.inside) == (pytest.approx(0.5), math.inf, 1)
    else:
        assert (optimum.rule.low, optimum.rule.high) == (-math.inf, math.inf)


def test_beyond_half_the_gap_the_midpoint_is_a_maximum() -> None:
    model, radius = UnivariateGaussian(means=(0.0, 2.0)), 1.5
    t = np.linspace(-4.0, 6.0, 1001)
    risk = model.threshold_risk(t, radius)
    assert t[risk.argmax()] == pytest.approx(1.0)
    printed = ndtr((radius - 1.0) / 1.0)
    assert risk.max() == pytest.approx(printed)
    assert printed > 0.69
    assert model.optimum(radius).risk == 0.5


@pytest.mark.parametrize("radius", [0.0, 0.4, 0.9])
def test_unequal_priors_move_the_threshold(radius: float) -> None:
    model = UnivariateGaussian(means=(0.0, 2.0), variances=(0.5, 0.5), priors=(0.7, 0.3))
    t = 1.0 + 0.5 * math.log(0.7 / 0.3) / (2.0 - 2.0 * radius)
    assert model.optimum(radius).rule.low == pytest.approx(t, rel=1e-13)


def test_unequal_variances_give_an_interval() -> None:
    model = UnivariateGaussian(means=(0.0, 0.5), variances=(4.0, 0.25), priors=(0.6, 0.4))
    rule = model.optimum(0.1).rule
    assert rule.inside == 1
    assert -math.inf < rule.low < 0.5 < rule.high < math.inf
    swapped = UnivariateGaussian(means=(0.5, 0.0), variances=(0.25, 4.0), priors=(0.4, 0.6))
    assert swapped.optimum(0.1).rule.inside == 0


@settings(max_examples=12)
@given(models())
def test_benign_optimum_is_the_bayes_risk(model: UnivariateGaussian) -> None:
    def smaller(x: float) -> float:
        return min(model.priors[k] * norm.pdf(x, model.means[k], math.sqrt(model.variances[k])) for k in (0, 1))

    risk, _ = quad(smaller, -14.0, 14.0, limit=400, points=[-4.0, -2.0, 0.0, 2.0, 4.0])
    assert model.optimum(0.0).risk == pytest.approx(risk, abs=1e-6)


@given(models(), st.floats(-5.0, 5.0), radii)
def test_threshold_risk_is_the_risk_of_the_rule(model: UnivariateGaussian, t: float, radius: float) -> None:
    (risk,) = model.threshold_risk(np.array([t]), radius)
    assert model.risk(IntervalRule(low=t), radius) == pytest.approx(risk, abs=1e-14)


@given(models(), radii, radii)
def test_risk_grows_with_the_radius(model: UnivariateGaussian, a: float, b: float) -> None:
    assert model.optimum(min(a, b)).risk <= model.optimum(max(a, b)).risk + 1e-14


@given(models(), radii, st.floats(-3.0, 3.0), st.floats(0.1, 10.0))
def test_names_of_classes_and_units_do_not_matter(
    model: UnivariateGaussian, radius: float, shift: float, scale: float
) -> None:
    (mu0, mu1), (var0, var1), (pi0, pi1) = model.means, model.variances, model.priors
    other = UnivariateGaussian(
        means=(shift - scale * mu1, shift - scale * mu0),
        variances=(scale**2 * var1, scale**2 * var0),
        priors=(pi1, pi0),
    )
    assert other.optimum(scale * radius).risk == pytest.approx(model.optimum(radius).risk, abs=1e-9)


@pytest.mark.parametrize(("variances", "radius"), [((1.0, 1.0), 0.5), ((4.0, 0.25), 0.3), ((1.0, 1.2), 3.0)])
def test_monte_carlo_agrees(variances: tuple[float, float], radius: float) -> None:
    model = UnivariateGaussian(means=(0.0, 1.5), variances=variances, priors=(0.55, 0.45))
    optimum, generator, n = model.optimum(radius), np.random.default_rng(5), 200_000
    y = (generator.random(n) < 0.45).astype(int)
    x = np.array(model.means)[y] + np.sqrt(variances)[y] * generator.standard_normal(n)
    errors = sum(int(optimum.rule.errs(x[y == k], k, radius).sum()) for k in (0, 1))
    assert optimum.risk in clopper_pearson(errors, n, confidence=1.0 - 1e-6)


@given(unit, unit, st.floats(0.0, 1.0), st.sampled_from([0, 1]), st.sampled_from([0, 1]))
def test_errs_means_an_error_within_reach(a: float, b: float, radius: float, inside: int, label: int) -> None:
    rule = IntervalRule(low=min(a, b), high=max(a, b), inside=inside)
    x = np.linspace(-1.507, 2.503, 301)
    moves = np.linspace(-radius, radius, 2001)
    found = (rule((x[:, None] + moves).ravel()) != label).reshape(len(x), -1).any(axis=1)
    # An end or a piece narrower than the grid of moves may be missed, nothing may be invented.
    errs = rule.errs(x, label, radius)
    assert not (found & ~errs).any()
    near = np.min([np.abs(np.abs(x - end) - radius) for end in (rule.low, rule.high)], axis=0) < 2e-3
    narrow = rule.high - rule.low < 2e-3
    assert narrow or not (errs & ~found & ~near).any()


def test_curve_is_data() -> None:
    model = UnivariateGaussian(means=(0.0, 2.0))
    curve = gaussian_curve(model, [0.0, 0.5, 1.5])
    assert str(curve).splitlines()[-1].split()[:3] == ["1.5000", "0.5000", "0.6915"]
    document = curve.to_json()
    assert document["optima"][0]["rule"] == {"low": 1.0, "high": None, "inside": 1}
    assert document["midpoint"] == pytest.approx([ndtr(-1.0), ndtr(-0.5), ndtr(0.5)])
    table = curve.to_arrow()
    assert table["optimal_risk"].to_pylist() == pytest.approx([ndtr(-1.0), ndtr(-0.5), 0.5])
    assert table["rule.high"].to_pylist() == [math.inf] * 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"priors": (0.5, 0.6)},
        {"priors": (0.0, 1.0)},
        {"variances": (1.0, 0.0)},
        {"variances": (1.0, math.nan)},
        {"means": (0.0, math.inf)},
    ],
)
def test_wrong_parameters_are_refused(wrong: dict[str, tuple[float, float]]) -> None:
    with pytest.raises(InputError, match=str(next(iter(wrong.values()))[1])):
        UnivariateGaussian(**({"means": (0.0, 1.0)} | wrong))


@pytest.mark.parametrize("radius", [-0.1, math.nan, math.inf])
def test_wrong_radius_is_refused(radius: float) -> None:
    with pytest.raises(InputError, match="radius"):
        UnivariateGaussian(means=(0.0, 1.0)).optimum(radius)
