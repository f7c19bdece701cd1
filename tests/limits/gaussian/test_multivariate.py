"""Gaussian classes in d dimensions: the bracket, its reductions, and independent solvers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import lsq_linear
from scipy.special import ndtr

from epsball.errors import InputError
from epsball.limits.gaussian import MultivariateGaussian, UnivariateGaussian
from epsball.limits.gaussian.projection import nearest_l2, nearest_linf
from epsball.statistics import clopper_pearson

seeds = st.integers(0, 2**32 - 1)
norms = st.sampled_from(["l2", "linf"])


def covariance_of(generator: np.random.Generator, d: int, decades: float) -> np.ndarray:
    """Return a random covariance with condition number up to 10^decades."""
    basis = np.linalg.qr(generator.standard_normal((d, d)))[0]
    matrix = basis @ np.diag(10.0 ** generator.uniform(-decades / 2.0, decades / 2.0, d)) @ basis.T
    return (matrix + matrix.T) / 2.0


def random_model(seed: int, d: int, decades: float = 2.0) -> tuple[MultivariateGaussian, np.ndarray, float]:
    """Return a model of moderate risk, half the gap of its means, and a radius below its norm."""
    generator = np.random.default_rng(seed)
    covariance, m = covariance_of(generator, d, decades), generator.standard_normal(d)
    m *= generator.uniform(0.3, 3.0) / math.sqrt(m @ np.linalg.solve(covariance, m))
    centre, prior = generator.standard_normal(d), generator.uniform(0.1, 0.9)
    model = MultivariateGaussian(
        means=np.stack([centre - m, centre + m]), covariance=covariance, priors=(1.0 - prior, prior)
    )
    return model, m, float(np.abs(m).max() * generator.uniform(0.0, 1.0))


@given(seeds, norms, st.integers(1, 30))
def test_both_ends_of_the_bracket_meet(seed: int, norm: str, d: int) -> None:
    model, _, radius = random_model(seed, d)
    optimum = model.optimum(norm, radius)
    assert 0.0 <= optimum.risk - optimum.lower < 1e-12
    assert optimum.risk == model.risk(optimum.rule, norm, radius)


@pytest.mark.parametrize("solve", [nearest_l2, nearest_linf])
@pytest.mark.parametrize(("decades", "tolerance"), [(4.0, 1e-12), (10.0, 1e-7)])
@pytest.mark.parametrize("fraction", [1e-12, 1e-3, 0.5, 1.0 - 1e-9])
def test_shift_and_direction_prove_each_other(solve, decades: float, tolerance: float, fraction: float) -> None:
    generator = np.random.default_rng(3)
    covariance, m = covariance_of(generator, 60, decades), generator.standard_normal(60)
    order, dual = (2, 2) if solve is nearest_l2 else (np.inf, 1)
    radius = fraction * float(np.linalg.norm(m, ord=order))
    z, w = solve(m, covariance, radius)
    assert np.linalg.norm(z, ord=order) <= radius * (1.0 + 1e-15)
    upper = np.linalg.norm(np.linalg.solve(np.linalg.cholesky(covariance), m - z))
    lower = (w @ m - radius * np.linalg.norm(w, ord=dual)) / math.sqrt(w @ covariance @ w)
    # Near the end of the way the distance itself is a difference of nearly equal numbers.
    whole = math.sqrt(m @ np.linalg.solve(covariance, m))
    assert abs(upper - lower) <= tolerance * whole


@given(seeds, st.integers(2, 12))
def test_linf_shift_equals_bounded_least_squares(seed: int, d: int) -> None:
    model, m, radius = random_model(seed, d)
    radius += 1e-6
    whiten = np.linalg.inv(np.linalg.cholesky(model.covariance))
    expected = lsq_linear(whiten, whiten @ m, bounds=(-radius, radius), method="bvls", tol=1e-14).x
    z, _ = nearest_linf(m, model.covariance, radius)
    assert whiten @ (m - z) == pytest.approx(whiten @ (m - expected), abs=1e-6)


@given(seeds, norms)
def test_one_dimension_is_the_univariate_model(seed: int, norm: str) -> None:
    model, _, radius = random_model(seed, 1)
    (mu0,), (mu1,) = model.means.tolist()
    variance = float(model.covariance[0, 0])
    line = UnivariateGaussian(means=(mu0, mu1), variances=(variance, variance), priors=model.priors)
    assert model.optimum(norm, radius).risk == pytest.approx(line.optimum(radius).risk, abs=1e-12)


@given(seeds, st.integers(1, 8))
def test_known_reductions(seed: int, d: int) -> None:
    model, m, radius = random_model(seed, d)
    length = float(np.linalg.norm(m))
    round_model = MultivariateGaussian(means=model.means, covariance=4.0 * np.eye(d), priors=model.priors)
    line = UnivariateGaussian(means=(-length, length), variances=(4.0, 4.0), priors=model.priors)
    assert round_model.optimum("l2", radius).risk == pytest.approx(line.optimum(radius).risk, abs=1e-12)
    scales = np.linspace(0.5, 2.0, d)
    boxed = MultivariateGaussian(means=model.means, covariance=np.diag(scales**2))
    distance = np.linalg.norm(np.maximum(np.abs(m) - radius, 0.0) / scales)
    assert boxed.optimum("linf", radius).risk == pytest.approx(ndtr(-distance), abs=1e-12)


@given(seeds, norms, st.integers(2, 8))
def test_no_other_direction_is_better(seed: int, norm: str, d: int) -> None:
    model, _, radius = random_model(seed, d)
    w = np.random.default_rng(seed + 1).standard_normal(d)
    reach = radius * np.linalg.norm(w, ord={"l2": 2, "linf": 1}[norm])
    assert model.along(w).optimum(float(reach)).risk >= model.optimum(norm, radius).lower - 1e-14


@given(seeds, st.integers(1, 8), st.floats(0.0, 1.0))
def test_order_in_radius_and_norm(seed: int, d: int, share: float) -> None:
    model, _, radius = random_model(seed, d)
    boxed = model.optimum("linf", radius).risk
    assert model.optimum("linf", share * radius).risk <= boxed + 1e-12
    assert model.optimum("l2", radius).risk <= boxed + 1e-12
    assert boxed <= model.optimum("l2", math.sqrt(d) * radius).risk + 1e-12


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_from_half_the_gap_on_a_constant_rule_is_optimal(norm: str) -> None:
    model = MultivariateGaussian(
        means=np.array([[0.0, 0.0], [2.0, 1.0]]),
        covariance=np.array([[2.0, 0.5], [0.5, 1.0]]),
        priors=(0.3, 0.7),
    )
    radius = {"l2": math.sqrt(1.25), "linf": 1.0}[norm]
    for factor in (1.0, 1.5):
        optimum = model.optimum(norm, radius * factor)
        assert optimum.risk == optimum.lower == pytest.approx(0.3)
        assert optimum.rule(np.zeros((3, 2))).tolist() == [1, 1, 1]


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_monte_carlo_agrees(norm: str) -> None:
    model, _, _ = random_model(11, 5)
    radius, generator, n = 0.15, np.random.default_rng(2), 200_000
    optimum = model.optimum(norm, radius)
    w = optimum.rule.direction
    # The strongest move of the ball against w: along w for l2, its signs for linf.
    move = radius * (w / np.linalg.norm(w) if norm == "l2" else np.sign(w))
    y = (generator.random(n) < model.priors[1]).astype(int)
    x = model.means[y] + generator.standard_normal((n, 5)) @ np.linalg.cholesky(model.covariance).T
    moved = x + np.where(y == 1, -1.0, 1.0)[:, None] * move
    errors = int((optimum.rule(moved) != y).sum())
    assert optimum.risk > model.optimum(norm, 0.0).risk + 0.01
    assert optimum.risk in clopper_pearson(errors, n, confidence=1.0 - 1e-6)


@pytest.mark.parametrize(
    ("means", "covariance", "message"),
    [
        (np.zeros((2, 2)), np.eye(3), "shape"),
        (np.zeros((2, 2)), np.array([[1.0, 0.5], [0.0, 1.0]]), "symmetric"),
        (np.zeros((2, 2)), np.array([[1.0, 1.0], [1.0, 1.0]]), "positive definite"),
        (np.array([[0.0, np.nan], [0.0, 0.0]]), np.eye(2), "finite"),
    ],
)
def test_wrong_parameters_are_refused(means: np.ndarray, covariance: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MultivariateGaussian(means=means, covariance=covariance)


@pytest.mark.usefixtures("as_users_run")
def test_unknown_norm_is_refused() -> None:
    model = MultivariateGaussian(means=np.array([[0.0], [1.0]]), covariance=np.eye(1))
    with pytest.raises(InputError, match=r"norm is 'l_inf'.*Did you mean 'linf'"):
        model.optimum("l_inf", 0.1)
