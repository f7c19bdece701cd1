"""Formulas over the entries of a network's input and output: linear comparisons, joined by and and or."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, NamedTuple, TypeAlias


class Variable(NamedTuple):
    """An entry of the network's input (side X) or output (side Y), by its place in row-major order."""

    side: Literal["X", "Y"]
    place: int

    def __str__(self) -> str:
        return f"{self.side}_{self.place}"


@dataclass(frozen=True, slots=True)
class LinearForm:
    """sum_v c_v v + c: a linear function with exact coefficients, none of which is 0.

    Parameters
    ----------
    terms
        The variables v, in order, each with its coefficient c_v.
    constant
        The constant c.

    Examples
    --------
    >>> from fractions import Fraction
    >>> x = LinearForm.of({Variable("X", 0): Fraction(1)}, Fraction(2))
    >>> x.plus(x).value([Fraction(3)], [])
    Fraction(10, 1)
    """

    terms: tuple[tuple[Variable, Fraction], ...] = ()
    constant: Fraction = Fraction(0)

    @classmethod
    def of(cls, coefficients: Mapping[Variable, Fraction], constant: Fraction = Fraction(0)) -> "LinearForm":
        """Return the function of these coefficients; those that are 0 are left out."""
        return cls(tuple(sorted((v, c) for v, c in coefficients.items() if c)), constant)

    def plus(self, other: "LinearForm") -> "LinearForm":
        """Return the sum of two functions."""
        total = dict(self.terms)
        for variable, coefficient in other.terms:
            total[variable] = total.get(variable, Fraction(0)) + coefficient
        return LinearForm.of(total, self.constant + other.constant)

    def times(self, factor: Fraction) -> "LinearForm":
        """Return the function times a number."""
        if not factor:
            return LinearForm()
        return LinearForm(tuple((v, factor * c) for v, c in self.terms), factor * self.constant)

    def value(self, x: Sequence[Fraction], y: Sequence[Fraction]) -> Fraction:
        """Return the exact value for an input x and an output y."""
        total = self.constant
        for (side, place), coefficient in self.terms:
            total += coefficient * (x if side == "X" else y)[place]
        return total


@dataclass(frozen=True, slots=True)
class Comparison:
    """form <= 0, or form < 0 where it is strict.

    Parameters
    ----------
    form
        The linear function that is compared with 0.
    strict
        Whether 0 itself is left out.
    line
        Where it stands in the file, for messages; 0 where it does not.
    """

    form: LinearForm
    strict: bool = False
    line: int = field(default=0, compare=False)

    def holds(self, x: Sequence[Fraction], y: Sequence[Fraction]) -> bool:
        """Return whether it holds, exactly."""
        value = self.form.value(x, y)
        return value < 0 or (value == 0 and not self.strict)


@dataclass(frozen=True, slots=True)
class And:
    """All of the parts."""

    parts: Sequence["Formula"]

    def holds(self, x: Sequence[Fraction], y: Sequence[Fraction]) -> bool:
        """Return whether it holds, exactly."""
        return all(part.holds(x, y) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of the parts."""

    parts: Sequence["Formula"]

    def holds(self, x: Sequence[Fraction], y: Sequence[Fraction]) -> bool:
        """Return whether it holds, exactly."""
        return any(part.holds(x, y) for part in self.parts)


Formula: TypeAlias = Comparison | And | Or


def comparison(relation: str, left: LinearForm, right: LinearForm, line: int) -> Formula:
    """Return ``left relation right`` for one of <=, <, >=, >, == and !=.

    Examples
    --------
    >>> from fractions import Fraction
    >>> one, two = LinearForm(constant=Fraction(1)), LinearForm(constant=Fraction(2))
    >>> comparison("<=", one, two, 1).holds([], []), comparison("==", one, two, 1).holds([], [])
    (True, False)
    """
    below = left.plus(right.times(Fraction(-1)))
    above = below.times(Fraction(-1))
    if relation == "==":
        return And((Comparison(below, False, line), Comparison(above, False, line)))
    if relation == "!=":
        return Or((Comparison(below, True, line), Comparison(above, True, line)))
    return Comparison(below if relation[0] == "<" else above, "=" not in relation, line)


def comparisons(formula: Formula) -> Iterator[Comparison]:
    """Yield every comparison of a formula, in order."""
    if isinstance(formula, Comparison):
        yield formula
    else:
        for part in formula.parts:
            yield from comparisons(part)
