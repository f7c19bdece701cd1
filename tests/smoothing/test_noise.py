"""Noise: its law, and the radius by the published formulas, checked where the worst case is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, laplace, norm, uniform

from epsball.errors import InputError
from epsball.smoothing import NOISES, Gaussian, Laplace, Uniform
from epsball.smoothing.noise import check_norm

LAWS = {
    "gaussian": lambda sigma: norm(scale=sigma).cdf,
    "laplace": lambda sigma: laplace(scale=sigma / math.sqrt(2)).cdf,
    "uniform": lambda sigma: uniform(-math.sqrt(3) * sigma, 2 * math.sqrt(3) * sigma).cdf,
}


@pytest.mark.parametrize("name", NOISES)
def test_draws_follow_the_law_and_have_the_standard_deviation(name):
    drawn = NOISES[name](0.3).draw(np.random.default_rng(0), (200_000,)).astype(np.float64)
    assert kstest(drawn, LAWS[name](0.3)).pvalue > 1e-3
    assert drawn.std() == pytest.approx(0.3, rel=0.01)


@given(st.floats(0.5, 1 - 1e-9), st.floats(0.01, 2.0))
def test_the_gaussian_radius_is_the_distance_at_which_a_half_space_of_that_share_is_even(share, sigma):
    radius = float(Gaussian(sigma).radius(np.array([share]), "l2", 100)[0])
    assert norm.cdf((norm.ppf(share) * sigma - radius) / sigma) >= 0.5
    assert radius == pytest.approx(sigma * norm.ppf(share), rel=1e-9, abs=1e-9)


@given(st.floats(0.5, 1 - 1e-9))
def test_the_l1_radii_are_the_distances_at_which_the_worst_set_of_that_share_is_even(share):
    # In one dimension the worst set is an interval's end: moved by the radius, its share is 1/2 (or more).
    for noise, law in ((Laplace(1.0), laplace(scale=1 / math.sqrt(2))), (Uniform(1.0), uniform(-(3**0.5), 2 * 3**0.5))):
        radius = float(noise.radius(np.array([share]), "l1", 1)[0])
        edge = law.ppf(share)
        assert law.cdf(edge - radius) >= 0.5 - 1e-12


def test_linf_is_l2_over_the_square_root_of_the_entries():
    share = np.array([0.99])
    l2, linf = (Gaussian(0.5).radius(share, name, 784)[0] for name in ("l2", "linf"))
    assert linf == pytest.approx(l2 / 28, rel=1e-9)
    assert linf * 28 <= 0.5 * norm.ppf(0.99)


def test_a_share_of_one_half_or_less_certifies_nothing():
    for name, kind in NOISES.items():
        assert kind(1.0).radius(np.array([0.0, 0.3, 0.5]), kind.norms[0], 4).tolist() == [0.0] * 3, name


def test_a_norm_that_the_noise_cannot_certify_is_refused():
    with pytest.raises(InputError, match="gaussian noise certifies no radius in l1: .*laplace noise certifies l1"):
        check_norm(Gaussian(1.0), "l1")


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.inf, math.nan])
def test_sigma_is_positive(sigma):
    with pytest.raises(InputError, match="sigma is"):
        Gaussian(sigma)
