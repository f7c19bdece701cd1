"""The cases of a query: together they say what the formula says."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epsball.errors import InputError, UnsupportedOperation
from epsball.verification.vnnlib import And, Comparison, LinearForm, Or, Query, TensorDeclaration, Variable, cases_of
from verification.vnnlib.formulas import built, trees

SMALL = st.integers(-3, 3).map(Fraction)
TREES = trees(st.integers(-3, 3), most_terms=2)


def bound(place, value, sign):
    """Return the comparison sign (X - value) <= 0."""
    return Comparison(LinearForm.of({Variable("X", place): Fraction(sign)}, Fraction(-sign * value)), line=place + 1)


BOX = tuple(bound(place, value, sign) for place in (0, 1) for value, sign in ((2, 1), (-2, -1)))


def asked(formula, inputs=2):
    declared = [TensorDeclaration(name=name, element="Real", shape=(n,)) for name, n in (("X", inputs), ("Y", 1))]
    return Query(path="file", version="1.0", network="", input=declared[0], output=declared[1], formula=formula)


@given(TREES, st.lists(st.tuples(SMALL, SMALL, SMALL), min_size=1, max_size=8))
def test_cases_hold_wherever_the_formula_does_and_beyond_it_only_on_faces(tree, points):
    query = asked(And((*BOX, built(tree))))
    try:
        cases, _ = cases_of(query)
    except InputError:
        cases = ()
    for first, second, output in points:
        x, y = (first, second), (output,)
        found = [
            case
            for case in cases
            if all(low <= v <= high for low, v, high in zip(case.lower, x, case.upper, strict=True))
            and any(all(one.holds(x, y) for one in part) for part in case.conjunctions)
        ]
        if query.formula.holds(x, y):
            assert found
        elif found:
            assert any(
                v in (low, high) for case in found for low, v, high in zip(case.lower, x, case.upper, strict=True)
            )


def test_cases_of_one_box_are_one_case():
    both = Or(tuple(Comparison(LinearForm.of({Variable("Y", 0): Fraction(1)}, Fraction(k))) for k in (1, 2)))
    cases, notes = cases_of(asked(And((*BOX, both))))
    assert [len(case.conjunctions) for case in cases] == [2]
    assert notes == ()


@pytest.mark.parametrize("missing", range(4))
def test_an_unbounded_input_is_named(missing):
    left = [one for number, one in enumerate(BOX) if number != missing]
    with pytest.raises(
        InputError, match=f"entry {missing // 2} of the input X has no {'lower' if missing % 2 else 'upper'}"
    ):
        cases_of(asked(And(tuple(left))))


def test_a_contradictory_box_is_named_with_its_lines():
    with pytest.raises(InputError, match="lines 1 and 1: X_0 is to be at least 3 and at most 2: no input"):
        cases_of(asked(And((*BOX, bound(0, 3, -1)))))


def test_an_empty_alternative_is_left_out_and_said():
    cases, notes = cases_of(asked(And((*BOX, Or((bound(0, 3, -1), bound(0, 1, -1)))))))
    assert [case.lower[0] for case in cases] == [1]
    assert "X_0 is to be at least 3 and at most 2: that alternative is empty" in notes[0]


def test_too_many_combinations_are_refused():
    choice = Or(tuple(bound(0, k, 1) for k in range(10)))
    with pytest.raises(UnsupportedOperation, match="more than 10000 combinations"):
        cases_of(asked(And((*BOX, *[choice] * 6))))
