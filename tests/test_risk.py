import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from epsball import InputError
from epsball.risk import Bracket, decompose, three_quantities


@st.composite
def columns(draw):
    n = draw(st.integers(1, 60))
    kind = torch.tensor(draw(st.lists(st.integers(0, 4), min_size=n, max_size=n)))
    correct = (kind != 0) & (kind != 4)
    return correct, kind == 1, kind == 2, kind == 4


@given(columns())
def test_natural_plus_boundary_is_robust_at_both_ends(case):
    correct, broken, certified, failed = case
    risk = decompose(correct, broken, certified, failed)
    assert risk.natural.low + risk.boundary.low == pytest.approx(risk.robust.low, abs=1e-12)
    assert risk.natural.high + risk.boundary.high == pytest.approx(risk.robust.high, abs=1e-12)
    for part in (risk.natural, risk.boundary, risk.robust):
        assert 0 <= part.interval.low <= part.low <= part.high <= part.interval.high <= 1


@given(columns())
def test_attack_bounds_from_below_and_certificates_from_above(case):
    correct, broken, certified, failed = case
    n = len(correct)
    risk = decompose(correct, broken, certified, failed)
    assert risk.robust.low == pytest.approx(float(((~correct & ~failed) | broken).sum()) / n)
    assert risk.robust.high == pytest.approx(1 - float((certified & correct).sum()) / n)


def test_without_certificates_every_correct_example_may_be_on_the_boundary():
    correct = torch.tensor([True, True, True, False])
    risk = decompose(correct, torch.tensor([True, False, False, False]))
    assert (risk.natural.low, risk.natural.high) == (0.25, 0.25)
    assert (risk.boundary.low, risk.boundary.high) == (0.25, 0.75)
    assert (risk.robust.low, risk.robust.high) == (0.5, 1.0)
    assert "0.2500..0.7500" in str(risk)
    assert risk.to_json()["robust"]["low"] == 0.5


def test_contradictions_and_unequal_columns_are_refused(as_users_run):
    yes = torch.tensor([True, True])
    with pytest.raises(InputError, match="both broken and certified"):
        decompose(yes, yes, yes)
    with pytest.raises(InputError, match="lengths"):
        decompose(yes, yes[:1])
    with pytest.raises(InputError, match="at least 1"):
        decompose(yes[:0], yes[:0])


def test_the_three_quantities_are_intervals_from_both_sides():
    from epsball.risk import Bracket, three_quantities
    from epsball.statistics import Interval

    train, test = Bracket.of_counts(10, 30, 100, 0.975), Bracket.of_counts(25, 60, 100, 0.975)
    found = three_quantities(train, test, Interval(0.05, 0.1))
    assert found.gap.low == test.interval.low - train.interval.high
    assert found.gap.high == test.interval.high - train.interval.low
    assert 0.25 - 0.30 in found.gap
    assert found.excess.low == test.interval.low - 0.1
    assert found.excess.high == test.interval.high - 0.05
    assert found.optimal == Interval(0.05, 0.1)


def test_without_certificates_the_gap_may_have_either_sign_and_the_optimum_is_at_most_the_risk():
    from epsball.risk import Bracket, three_quantities

    attack_only = [Bracket.of_counts(broken, 100, 100) for broken in (10, 40)]
    found = three_quantities(*attack_only)
    assert found.gap.low < 0 < found.gap.high
    certified = Bracket.of_counts(10, 20, 100)
    assert three_quantities(certified, certified).optimal.high == certified.interval.high


def test_where_nothing_is_known_the_reason_is_said():
    right, none = torch.ones(5, dtype=torch.bool), torch.zeros(5, dtype=torch.bool)
    lines = str(decompose(right, none)).splitlines()
    reason = ": nothing is known, no witness was found and no example is certified"
    assert [line.endswith(reason) for line in lines[2:]] == [False, True, True]
    assert "nothing is known" not in str(decompose(right, none, certified=right))
    assert "the model gave no verdict on any example" in str(decompose(none, none, failed=right))
    said = str(three_quantities(Bracket.of_counts(0, 5, 5), Bracket.of_counts(0, 5, 5)))
    assert [("nothing is known" in line) for line in said.splitlines()[2:]] == [True, True, True]
