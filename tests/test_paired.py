"""Paired statistics, against enumeration and published figures."""

from itertools import permutations, product
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from epsball.errors import InputError
from epsball.paired import Discordance, holm, permutation_p

COUNTS = st.integers(0, 40)


def of(only_a, only_b, total):
    return Discordance(only_a=only_a, only_b=only_b, total=total)


@given(COUNTS, COUNTS)
def test_mcnemar_is_the_exact_binomial_test_of_the_discordant(b, c):
    expected = binomtest(b, b + c).pvalue if b + c else 1.0
    assert of(b, c, 100).p == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_the_difference_is_that_of_the_shares(pairs):
    a, b = np.array(pairs).T
    assert Discordance.of(a, b).difference == pytest.approx(a.mean() - b.mean())


@given(COUNTS, COUNTS, st.integers(80, 200))
def test_the_interval_holds_the_difference_and_mirrors(b, c, total):
    found, mirrored = of(b, c, total), of(c, b, total)
    assert found.difference in found.interval()
    assert found.interval().low == pytest.approx(-mirrored.interval().high)


@pytest.mark.parametrize("shares", list(product((0.0, 0.05, 0.5, 1.0), (0.0, 0.3))))
def test_coverage_of_the_interval_by_enumeration(shares):
    p_b, p_c = shares
    if p_b + p_c > 1:
        pytest.skip("no such distribution")
    n, covered = 25, 0.0
    for b in range(n + 1):
        for c in range(n + 1 - b):
            mass = comb(n, b) * comb(n - b, c) * p_b**b * p_c**c * (1 - p_b - p_c) ** (n - b - c)
            covered += mass * (p_b - p_c in of(b, c, n).interval())
    assert covered >= 0.95 - 1e-9


def test_holm_of_the_published_example():
    # Holm's own procedure, step by step: 4 p1, 3 p2, 2 p3, p4, each at least the one before.
    assert holm([0.02, 0.001, 0.04, 0.015]) == pytest.approx([0.045, 0.004, 0.045, 0.045])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_is_between_the_value_and_bonferroni(p):
    adjusted = holm(p)
    for value, new in zip(p, adjusted, strict=True):
        assert value <= new <= min(1.0, len(p) * value) + 1e-15
    order = np.argsort(p, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


@given(st.lists(st.integers(0, 5), min_size=2, max_size=3), st.lists(st.integers(0, 5), min_size=1, max_size=3))
def test_the_permutation_test_by_all_orders(a, b):
    a, b = [float(v) for v in a], [float(v) for v in b]
    orders = list(permutations([*a, *b]))
    expected = np.mean([sum(order[: len(a)]) >= sum(a) for order in orders])
    assert permutation_p(a, b) == pytest.approx(expected)


@given(st.data())
def test_worse_ends_never_lower_the_p_value(data):
    value = st.floats(0, 1)
    a = data.draw(st.lists(value, min_size=2, max_size=4))
    b = data.draw(st.lists(value, min_size=2, max_size=4))
    lower = [v * data.draw(value) for v in a]
    upper = [v + (1 - v) * data.draw(value) for v in b]
    assert permutation_p(lower, upper) >= permutation_p(a, b) - 1e-12


def test_bad_columns_and_groups_are_refused():
    with pytest.raises(InputError, match="2 and 3 entries"):
        Discordance.of(np.ones(2, bool), np.ones(3, bool))
    with pytest.raises(InputError, match="each needs at least one"):
        permutation_p([], [1.0])
    with pytest.raises(InputError, match="more than the 2000000"):
        permutation_p([0.0] * 20, [1.0] * 20)
