"""The plan of a smoothing: when a radius is given up."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import betabinom

from epsball.smoothing.noise import Gaussian
from epsball.smoothing.plan import HOPELESS, Plan


def plan(samples: int, *radii: Fraction) -> Plan:
    return Plan(
        noise=Gaussian(0.5),
        norm="l2",
        radii=radii,
        entries=4,
        bound="sequence",
        samples=samples,
        selection=100,
        alpha=0.001,
    )


@pytest.mark.parametrize("samples", [500, 4000])
@pytest.mark.parametrize("drawn", [64, 320, 448])
def test_the_chance_of_a_certificate_is_near_that_of_the_beta_binomial_count(samples, drawn):
    asked = plan(samples, Fraction(1, 10), Fraction(1, 2))
    counts = np.arange(drawn // 2, drawn + 1)
    chance = asked._chance(counts, np.full(len(counts), drawn))
    for column, radius in enumerate(asked.radii):
        # The least count of all that certifies the radius, by trying every one.
        every = np.arange(samples + 1)
        shares = asked._share(every, np.full(len(every), samples))
        least = every[asked.noise.radius(shares, "l2", 4) > float(radius)].min()
        exact = betabinom.sf(least - counts - 1, samples - drawn, counts + 0.5, drawn - counts + 0.5)
        # At few samples left the exact law is one of steps: half a step of it is allowed.
        step = betabinom.pmf(least - counts, samples - drawn, counts + 0.5, drawn - counts + 0.5)
        assert (np.abs(chance[:, column] - exact) <= 0.02 + step).all()


def test_what_is_given_up_would_rarely_have_been_certified():
    asked, rng = plan(4000, Fraction(1, 4)), np.random.default_rng(0)
    n, looks = 4000, [64, 512, 1024, 2048, 4000]
    share = rng.beta(0.5, 0.5, n)
    count, given_up, before = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=bool), 0
    for look in looks:
        count += rng.binomial(look - before, share)
        before = look
        if look < asked.samples:
            given_up |= asked._chance(count, np.full(n, look))[:, 0] < HOPELESS
    last = asked.noise.radius(asked._share(count, np.full(n, asked.samples)), "l2", 4) > 0.25
    assert given_up.any()
    assert (last & given_up).sum() <= HOPELESS * given_up.sum()
    assert (last & ~given_up).sum() > 0.95 * last.sum()
