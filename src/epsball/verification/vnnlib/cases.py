"""The cases of a query: a box of inputs each, with the conjunctions of comparisons of which one must hold there."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from epsball.errors import InputError, UnsupportedOperation
from epsball.verification.vnnlib.formula import And, Comparison, Formula, Or, Variable
from epsball.verification.vnnlib.query import Query

MOST = 10_000
"""Conjunctions beyond which a query is refused."""

Conjunction = tuple[Comparison, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A closed box of inputs, and what must hold of input and output for the query to be satisfied in it.

    Parameters
    ----------
    lower, upper
        The ends of the box, exactly, one per entry of the input.
    conjunctions
        The query holds at an input of the box if all comparisons of one of these do. Bounds of single inputs are in
        the box and not here; where one is strict, the box is larger by its face.
    """

    lower: tuple[Fraction, ...]
    upper: tuple[Fraction, ...]
    conjunctions: tuple[Conjunction, ...]


def cases_of(query: Query) -> tuple[tuple[Case, ...], tuple[str, ...]]:
    """Return the cases of a query, which together cover all inputs that may satisfy it, and notes on what was left out.

    Raises
    ------
    InputError
        If an input is unbounded, or every box is empty: the message names input, line and fix.
    UnsupportedOperation
        If the formula has more than `MOST` conjunctions.
    """
    always, choices = _split(query.formula)
    common = _Bounds()
    rest = [one for one in always if not common.take(one)]
    grouped: dict[frozenset[Comparison], tuple[_Bounds, list[Conjunction]]] = {}
    for alternative in _products(choices, query.path):
        mine = [one for one in alternative if _bounded(one) is not None]
        others = (*rest, *(one for one in alternative if _bounded(one) is None))
        held = _decided(others)
        if held is None:
            continue
        key = frozenset(mine)
        if key not in grouped:
            bounds = common.copy()
            for one in mine:
                bounds.take(one)
            grouped[key] = (bounds, [])
        grouped[key][1].append(held)
    empty = [clash for bounds, _ in grouped.values() if (clash := bounds.contradiction()) is not None]
    if grouped and len(empty) == len(grouped):
        raise InputError(f"{query.path}, {empty[0]}: no input is asked about. Correct one of them.")
    cases = [
        bounds.case(query, conjunctions) for bounds, conjunctions in grouped.values() if bounds.contradiction() is None
    ]
    return tuple(cases), tuple(f"{clash}: that alternative is empty and left out" for clash in empty)


def _split(formula: Formula) -> tuple[list[Comparison], list[Or]]:
    """Return the comparisons that a formula asserts, and the choices it leaves."""
    always: list[Comparison] = []
    choices: list[Or] = []
    stack = [formula]
    while stack:
        one = stack.pop()
        if isinstance(one, Comparison):
            always.append(one)
        elif isinstance(one, And):
            stack += one.parts
        else:
            choices.append(one)
    return always[::-1], choices[::-1]


def _products(choices: Sequence[Or], path: str) -> Iterator[list[Comparison]]:
    """Yield every conjunction that takes one part of each choice."""
    found: list[list[Comparison]] = [[]]
    for choice in choices:
        parts = [part for option in choice.parts for part in _conjunctions(option, path)]
        if len(found) * len(parts) > MOST:
            raise UnsupportedOperation(
                f"{path} has more than {MOST} combinations of alternatives. Split it into several queries."
            )
        found = [[*before, *part] for before in found for part in parts]
    yield from found


def _conjunctions(formula: Formula, path: str) -> Iterator[list[Comparison]]:
    always, choices = _split(formula)
    for product in _products(choices, path):
        yield [*always, *product]


def _bounded(comparison: Comparison) -> Variable | None:
    """Return the input that a comparison bounds by a number; None where it does more or less."""
    if len(comparison.form.terms) != 1:
        return None
    ((variable, _),) = comparison.form.terms
    return variable if variable.side == "X" else None


def _decided(conjunction: Sequence[Comparison]) -> Conjunction | None:
    """Return a conjunction without comparisons of numbers; None if one of these does not hold."""
    numbers = [one for one in conjunction if not one.form.terms]
    if not all(one.holds((), ()) for one in numbers):
        return None
    return tuple(one for one in conjunction if one.form.terms)


class _End(NamedTuple):
    """One end of an input's interval."""

    value: Fraction
    strict: bool
    line: int


class _Bounds:
    """The bounds of single inputs."""

    def __init__(self, ends: Mapping[int, Mapping[int, _End]] | None = None) -> None:
        """Take the ends by side, 1 for upper and -1 for lower, and input."""
        self._ends = {side: dict(ends[side]) if ends else {} for side in (1, -1)}

    def copy(self) -> "_Bounds":
        return _Bounds(self._ends)

    def take(self, comparison: Comparison) -> bool:
        """Take a bound c v + k <= 0 of one input v; return whether it was one."""
        variable = _bounded(comparison)
        if variable is None:
            return False
        ((_, coefficient),) = comparison.form.terms
        side = 1 if coefficient > 0 else -1
        new = _End(-comparison.form.constant / coefficient, comparison.strict, comparison.line)
        old = self._ends[side].get(variable.place)
        if old is None or (side * new.value, not new.strict) < (side * old.value, not old.strict):
            self._ends[side][variable.place] = new
        return True

    def contradiction(self) -> str | None:
        """Return what contradicts itself, with its lines; None where nothing does."""
        for place, high in self._ends[1].items():
            low = self._ends[-1].get(place)
            if low is not None and (
                low.value > high.value or (low.value == high.value and (low.strict or high.strict))
            ):
                return (
                    f"lines {low.line} and {high.line}: X_{place} is to be at least {_number(low.value)} and at most "
                    f"{_number(high.value)}" + ("" if low.value > high.value else ", one of them left out")
                )
        return None

    def case(self, query: Query, conjunctions: Sequence[Conjunction]) -> Case:
        """Return the case of these bounds."""
        ends: list[tuple[Fraction, ...]] = []
        for side, what in ((-1, "lower"), (1, "upper")):
            found = self._ends[side]
            missing = next((place for place in range(query.input.size) if place not in found), None)
            if missing is not None:
                raise InputError(
                    f"{query.path}: entry {missing} of the input {query.input.name} has no {what} bound; every input "
                    f"lies in an interval. Add one, as in (assert ({'>=' if side < 0 else '<='} "
                    f"{_written(query, missing)} {'-1.0' if side < 0 else '1.0'}))."
                )
            ends.append(tuple(found[place].value for place in range(query.input.size)))
        return Case(lower=ends[0], upper=ends[1], conjunctions=tuple(dict.fromkeys(conjunctions)))


def _written(query: Query, place: int) -> str:
    """Return an entry of the input as the query's version writes it."""
    if query.version == "1.0":
        return f"X_{place}"
    indices: list[int] = []
    for length in reversed(query.input.shape):
        place, index = divmod(place, length)
        indices.append(index)
    return f"{query.input.name}[{','.join(map(str, reversed(indices)))}]"


def _number(value: Fraction) -> str:
    return str(value) if value.denominator == 1 else f"{float(value):.9g}"
