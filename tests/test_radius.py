import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epsball.ball import parse_radius
from epsball.errors import InputError
from epsball.radius import format_radius, simplest_fraction

FINITE = st.floats(0, allow_infinity=False, allow_nan=False)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("8/255", Fraction(8, 255)),
        (" 8 / 255 ", Fraction(8, 255)),
        ("0.1", Fraction(1, 10)),
        ("1e-3", Fraction(1, 1000)),
        ("0.5/255", Fraction(1, 510)),
        (".5", Fraction(1, 2)),
        (2, Fraction(2)),
        (Fraction(3, 7), Fraction(3, 7)),
        (8 / 255, Fraction(8, 255)),
        (0.1, Fraction(1, 10)),
        (0.3, Fraction(3, 10)),
        (0.0, Fraction(0)),
        (-0.0, Fraction(0)),
    ],
)
def test_what_a_radius_means(value, expected):
    assert parse_radius(value) == expected


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_a_quotient_of_small_integers_is_found_again(numerator, denominator):
    assert simplest_fraction(numerator / denominator) == Fraction(numerator, denominator)


@given(FINITE)
def test_the_fraction_rounds_to_the_float_and_none_of_smaller_denominator_does(value):
    found = simplest_fraction(value)
    assert float(found) == value
    for denominator in range(1, min(found.denominator, 200)):
        below = math.floor(Fraction(value) * denominator)
        assert all(float(Fraction(p, denominator)) != value for p in (below, below + 1))


def test_half_way_ends_belong_to_floats_with_an_even_last_bit():
    big = 2**53
    assert simplest_fraction(float(big + 4)) == big + 3
    assert simplest_fraction(float(big + 2)) == big + 2


@given(st.fractions(0, 1000, max_denominator=10**6) | FINITE.map(Fraction))
def test_the_text_form_is_exact(radius):
    assert parse_radius(format_radius(radius)) == radius


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (-0.1, ("-0.1", "negative", "Did you mean 0.1?")),
        ("-8/255", ("-8/255", "Did you mean 8/255?")),
        (math.nan, ("nan", "finite")),
        (math.inf, ("inf", "finite")),
        ("8/0", ("8/0", "division by zero")),
        ("eight", ("'eight'", "not a number", "8/255")),
        ("nan", ("'nan'", "not a number")),
        ("1/2/3", ("1/2/3",)),
        ("1e999", ("largest float64",)),
    ],
)
def test_errors_name_the_value_the_rule_and_the_fix(value, words):
    with pytest.raises(InputError) as error:
        parse_radius(value)
    assert all(word in str(error.value) for word in words)


def test_a_bool_is_not_a_radius():
    with pytest.raises(InputError, match="bool"):
        parse_radius(True)
