"""The lower bounds on a share: exact where a formula is known, valid at every number of samples, tight at the end."""

from fractions import Fraction
from math import comb, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate
from scipy.stats import binom, binomtest

from epsball.smoothing import fixed_bound, sequence_bound

ALPHA = 0.001


def one(bound, count, samples, alpha=ALPHA):
    return float(bound(np.array([count]), np.array([samples]), alpha)[0])


@given(st.integers(1, 300), st.data())
def test_the_fixed_bound_is_the_share_at_which_so_many_votes_have_probability_alpha(samples, data):
    count = data.draw(st.integers(1, samples))
    p = one(fixed_bound, count, samples, 0.01)
    assert binom.sf(count - 1, samples, p) == pytest.approx(0.01, rel=1e-6)


def test_unanimous_votes_give_the_root_of_alpha():
    assert one(fixed_bound, 100, 100) == pytest.approx(ALPHA ** (1 / 100), rel=1e-9)


@pytest.mark.parametrize(("count", "samples"), [(100, 100), (90, 100), (30, 40), (999, 1000)])
def test_at_the_bound_of_the_sequence_the_mixture_by_quadrature_reaches_one_over_alpha(count, samples):
    p = one(sequence_bound, count, samples)

    def ratio(q):
        return np.exp(count * log(q / p) + (samples - count) * log((1 - q) / (1 - p)) if q < 1 else count * log(1 / p))

    def density(angle):
        return ratio(min(np.sin(angle) ** 2, 1 - 1e-16) if count < samples else np.sin(angle) ** 2)

    # q = sin(t)^2 turns Beta(1/2, 1/2) into the uniform law of the angle t.
    start = np.arcsin(np.sqrt(p))
    peak = np.arcsin(np.sqrt(count / samples))
    mean = integrate.quad(density, start, np.pi / 2, points=[peak], limit=400)[0] / (np.pi / 2 - start)
    assert mean == pytest.approx(1 / ALPHA, rel=1e-6)


@given(st.integers(1, 2000), st.data())
def test_the_sequence_is_never_above_the_fixed_bound(samples, data):
    count = data.draw(st.integers(0, samples))
    assert one(sequence_bound, count, samples) <= one(fixed_bound, count, samples) * (1 + 1e-9)


@given(st.integers(2, 2000), st.data())
def test_more_votes_never_lower_a_bound(samples, data):
    count = data.draw(st.integers(1, samples))
    for bound in (fixed_bound, sequence_bound):
        assert one(bound, count - 1, samples) <= one(bound, count, samples)


def test_no_votes_prove_nothing():
    for bound in (fixed_bound, sequence_bound):
        assert one(bound, 0, 1000) == 0.0


def exact_crossing(p: Fraction, alpha: float, most: int) -> Fraction:
    """Return the probability that the sequence's bound exceeds p at some number of samples up to `most`, exactly."""
    least = []
    for n in range(1, most + 1):
        counts = np.arange(n + 1)
        above = sequence_bound(counts, np.full(n + 1, n), alpha) > float(p)
        least.append(int(above.argmax()) if above.any() else n + 1)
    standing, crossed = {0: Fraction(1)}, Fraction(0)
    for n in range(1, most + 1):
        following: dict[int, Fraction] = {}
        for count, mass in standing.items():
            for votes, share in ((1, p), (0, 1 - p)):
                following[count + votes] = following.get(count + votes, Fraction(0)) + mass * share
        crossed += sum((mass for count, mass in following.items() if count >= least[n - 1]), Fraction(0))
        standing = {count: mass for count, mass in following.items() if count < least[n - 1]}
    return crossed


@pytest.mark.parametrize("p", [Fraction(1, 2), Fraction(7, 8), Fraction(15, 16)])
def test_the_probability_that_the_sequence_ever_errs_is_at_most_alpha_by_enumeration(p):
    assert 0 < exact_crossing(p, 0.05, 60) <= Fraction(1, 20)


@pytest.mark.slow
def test_the_sequence_errs_rarely_over_long_runs():
    draws, runs = np.random.default_rng(0), 400
    looks = np.unique(np.geomspace(8, 100_000, 80).astype(int))
    for p in (0.5, 0.9, 0.999):
        counts = draws.binomial(np.diff(looks, prepend=0), p, (runs, len(looks))).cumsum(axis=1)
        beyond = counts > p * looks  # the bound lies below the share counted
        low = sequence_bound(counts[beyond], np.broadcast_to(looks, counts.shape)[beyond], 0.05)
        wrong = len(np.unique(np.nonzero(beyond)[0][low > p]))
        assert binomtest(wrong, runs, 0.05, alternative="greater").pvalue > 1e-3


def test_unanimous_sequences_need_at_most_a_quarter_more_samples_than_a_number_fixed_in_hindsight():
    for share in (0.6, 0.8, 0.9, 0.977):
        n = np.arange(1, 2000)
        fixed, sequence = (int(np.argmax(bound(n, n, ALPHA) > share)) + 1 for bound in (fixed_bound, sequence_bound))
        assert fixed <= sequence <= 1.25 * fixed


def test_the_fixed_bound_by_enumeration():
    alpha, n, p = 0.05, 30, 0.7
    low = fixed_bound(np.arange(n + 1), np.full(n + 1, n), alpha)
    wrong = sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1) if low[k] > p)
    assert wrong <= alpha
