"""The sequential test of a count: its error by enumeration, its laws, its ends."""

from fractions import Fraction
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epsball.errors import InputError
from epsball.sequential import CountTest


def error(test: CountTest, count: int) -> Fraction:
    """Return the exact probability that the test ever answers wrongly, one look after each draw."""
    wrong = "below" if count >= test.threshold else "at least"
    standing, wrongly = {0: Fraction(1)}, Fraction(0)
    for n in range(1, test.total + 1):
        following: dict[int, Fraction] = {}
        for s, mass in standing.items():
            share = Fraction(count - s, test.total - (n - 1))
            for votes, chance in ((1, share), (0, 1 - share)):
                if chance:
                    following[s + votes] = following.get(s + votes, Fraction(0)) + mass * chance
        answers = {s: test.answer(s, n) for s in following}
        wrongly += sum((mass for s, mass in following.items() if answers[s] == wrong), Fraction(0))
        standing = {s: mass for s, mass in following.items() if answers[s] is None}
    assert not standing
    return wrongly


@pytest.mark.parametrize(("total", "threshold"), [(60, 30), (60, 54), (60, 60), (60, 1), (97, 90)])
def test_the_probability_of_ever_being_wrong_by_enumeration(total, threshold):
    test = CountTest(total=total, threshold=threshold)
    for count in {threshold - 1, threshold, max(0, threshold - 5), min(total, threshold + 5)}:
        assert error(test, count) <= Fraction(1, 20)


def test_the_test_has_power():
    errors = [error(CountTest(total=97, threshold=49), count) for count in (48, 49)]
    assert min(errors) > Fraction(1, 100)


@given(st.integers(1, 60), st.data())
def test_the_last_look_is_the_truth(total, data):
    threshold = data.draw(st.integers(1, total))
    counted = data.draw(st.integers(0, total))
    expected = "at least" if counted >= threshold else "below"
    assert CountTest(total=total, threshold=threshold).answer(counted, total) == expected


@cache
def answers(total: int, threshold: int, n: int) -> tuple[str | None, ...]:
    test = CountTest(total=total, threshold=threshold)
    return tuple(test.answer(s, n) for s in range(n + 1))


@given(st.integers(2, 80), st.data())
def test_more_counted_never_moves_the_answer_down(total, data):
    threshold, n = data.draw(st.integers(1, total)), data.draw(st.integers(1, total))
    rank = {"below": 0, None: 1, "at least": 2}
    ranks = [rank[answer] for answer in answers(total, threshold, n)]
    assert ranks == sorted(ranks)


@given(st.integers(2, 60), st.data())
def test_what_is_certain_is_answered(total, data):
    threshold = data.draw(st.integers(1, total))
    assert CountTest(total=total, threshold=threshold).answer(threshold, threshold) == "at least"
    missing = total - threshold + 1
    assert CountTest(total=total, threshold=threshold).answer(0, missing) == "below"


def test_nothing_drawn_says_nothing():
    assert CountTest(total=100, threshold=50).answer(0, 0) is None


def test_a_smaller_alpha_below_is_harder_to_fail():
    loose, strict = (CountTest(total=1000, threshold=900, alpha_below=alpha) for alpha in (0.05, 0.001))
    counted = [s for s in range(97) if loose.answer(s, 96) == "below" and strict.answer(s, 96) is None]
    assert counted


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"total": 0, "threshold": 1}, "total is 0"),
        ({"total": 10, "threshold": 11}, "the threshold is 11 of 10"),
        ({"total": 10, "threshold": 0}, "the threshold is 0 of 10"),
        ({"total": 10, "threshold": 5, "alpha": 0.0}, "alpha is 0.0"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        CountTest(**options)


def test_impossible_counts_are_refused():
    with pytest.raises(InputError, match="5 of 4 drawn of 10"):
        CountTest(total=10, threshold=5).answer(5, 4)
