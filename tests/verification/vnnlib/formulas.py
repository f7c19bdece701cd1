"""Formulas for tests by hypothesis: drawn as plain trees, since the checks of annotated types draw at random too."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from epsball.verification.vnnlib import And, Comparison, Formula, LinearForm, Or, Variable

NAMES = ("X_0", "X_1", "Y_0")


def trees(numbers: st.SearchStrategy, most_terms: int) -> st.SearchStrategy:
    """Return comparisons (coefficients, constant, strict), joined as ("and", parts) and ("or", parts)."""
    terms = st.dictionaries(st.sampled_from(NAMES), numbers, max_size=most_terms)
    joined = lambda parts: st.tuples(st.sampled_from(("and", "or")), st.lists(parts, min_size=1, max_size=3))  # noqa: E731
    return st.recursive(st.tuples(terms, numbers, st.booleans()), joined, max_leaves=8)


def built(tree: Sequence[Any]) -> Formula:
    """Return the formula of a tree."""
    if isinstance(tree[0], str):
        parts = tuple(map(built, tree[1]))
        return And(parts) if tree[0] == "and" else Or(parts)
    terms, constant, strict = tree
    coefficients = {variable(name): Fraction(number) for name, number in terms.items()}
    return Comparison(LinearForm.of(coefficients, Fraction(constant)), strict)


def variable(name: str) -> Variable:
    """Return a variable by its name."""
    side, place = name.split("_")
    return Variable("X" if side == "X" else "Y", int(place))
