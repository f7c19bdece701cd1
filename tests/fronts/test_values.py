"""The values of a front: exact, in the order of training, and named where they cannot be read."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

import epsball as eb
from epsball.errors import InputError
from epsball.fronts.values import Along, with_option, written

BALL = eb.Ball("linf", "0.1")


@given(st.integers(-50, 50), st.integers(1, 40), st.sampled_from(["0.1", "0.2", "0.25", "0.3", "1/3", "2"]))
def test_the_steps_of_a_range_are_exact(low, count, step):
    end = low + count * Fraction(step)
    values = Along.parse(f"alpha={low}:{end}:{step}").values
    assert values == tuple(low + i * Fraction(step) for i in range(count + 1))


def test_steps_of_a_tenth_are_the_decimals_one_writes():
    assert [written(value) for value in Along.parse("alpha=0:0.9:0.1").values] == [
        "0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("objective", "front", "order"),
    [
        ("mtl-ibp", "alpha=0:1:0.5", ["1", "0.5", "0"]),
        ("mtl-ibp", "kappa=0:1:0.5", ["0", "0.5", "1"]),
        ("sabr", "subselection=0.2,1,0.6", ["1", "0.6", "0.2"]),
        ("staps", "subselection=0.2,1", ["1", "0.2"]),
        ("trades", "beta=1,6", ["6", "1"]),
        ("awp,objective=trades", "beta=1,6", ["6", "1"]),
        ("mtl-ibp", "steps=2,8,4", ["2", "8", "4"]),
    ],
)
def test_the_most_certified_end_comes_first_where_it_is_known(objective, front, order):
    along = Along.parse(front)
    built = eb.training.resolve(with_option(objective, along.option, along.values[0]), BALL)
    assert [written(value) for value in along.ordered(built)] == order


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("alpha", "LOW:HIGH:STEP"),
        ("=0:1:0.5", "LOW:HIGH:STEP"),
        ("alpha=", "LOW:HIGH:STEP"),
        ("alpha=0:1", "LOW:HIGH:STEP"),
        ("alpha=0:x:0.5", "'x' in 'alpha=0:x:0.5' is not a number"),
        ("alpha=1:0:0.5", "LOW < HIGH"),
        ("alpha=0:1:0", "positive STEP"),
        ("alpha=0:1:0.3", "end at 0.9, not at 1"),
        ("alpha=0:1:0.0001", "10001 values, more than 1000"),
        ("alpha=0.5", "1 values"),
        ("alpha=0.5,1/2", "each once"),
        ("alpha=0,nan", "'nan'"),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        Along.parse(text)


def test_a_range_of_an_option_without_a_known_end_and_an_option_given_twice_are_refused():
    with pytest.raises(InputError, match=r"list the values, the most certified first: steps=2,4,6"):
        Along.parse("steps=2:6:2").ordered(eb.training.resolve("mtl-ibp", BALL))
    with pytest.raises(InputError, match="gives alpha, which the front varies"):
        with_option("mtl-ibp,alpha=0.5", "alpha", Fraction(1))
