"""How claims are decided."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from epsball.chapter.evidence import LEVEL, Order, pattern, share, without_exception
from epsball.paired import Discordance

columns = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


@given(columns)
def test_an_order_holds_in_one_direction_at_most(pairs):
    a, b = zip(*pairs, strict=True)
    forth, back = Order(greater=a, less=b, names=("a", "b")), Order(greater=b, less=a, names=("b", "a"))
    assert not (forth.holds and back.holds)
    assert forth.test == Discordance(only_a=back.test.only_b, only_b=back.test.only_a, total=len(pairs))


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_equal_columns_have_no_order(column):
    assert not Order(greater=column, less=column, names=("a", "a")).holds


def test_the_test_is_the_exact_one():
    six, five = [True] * 6 + [False] * 4, [True] * 5 + [False] * 5
    nothing = [False] * 10
    assert Order(greater=six, less=nothing, names=("a", "b")).test.p == 2 * 0.5**6 <= LEVEL
    assert Order(greater=six, less=nothing, names=("a", "b")).holds
    assert not Order(greater=five, less=nothing, names=("a", "b")).holds  # p = 1/16


def test_a_p_too_small_for_a_float_is_not_printed_as_zero():
    assert "p < 1e-300" in str(Order(greater=[1] * 2000, less=[0] * 2000, names=("a", "b")))


def test_unknown_values_are_on_neither_side():
    order = Order(greater=[None, 1.0], less=[0.0, np.nan], names=("a", "b"))
    assert (order.test.only_a, order.test.only_b, order.test.total) == (0, 0, 2)


def test_a_pattern_needs_every_order():
    clear, none = [True] * 10, [False] * 10
    holds = Order(greater=clear, less=none, names=("more", "less"))
    fails = Order(greater=none, less=clear, names=("less", "more"))
    assert pattern(holds, otherwise="").verdict == "pattern"
    decision = pattern(holds, fails, otherwise="Because.")
    assert decision.verdict == "differs"
    assert decision.sentence.endswith("The other way round: less is the lower one. Because.")
    unclear = pattern(Order(greater=[1, 0, 1], less=[0, 0, 1], names=("a", "b")), otherwise="Because.")
    assert unclear.sentence.endswith("At 5% the 1 of 3 examples that differ do not tell a from b. Because.")


def test_a_law_needs_a_case():
    assert without_exception([], 0, "law").verdict == "not measured"
    assert without_exception([], 3, "law").verdict == "reproduced"
    decision = without_exception([7, 8], 9, "law")
    assert (decision.verdict, decision.sentence) == ("differs", "law: 2 exceptions in 9 cases, the first 7.")


def test_a_share_has_its_interval():
    assert share([True, True, False, False]) == "0.500 [0.0676, 0.9324]"
