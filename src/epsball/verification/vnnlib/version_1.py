"""VNN-LIB 1.0: a strict reader. Variables are X_0, X_1, ... and Y_0, Y_1, ..., numbers are exact fractions."""

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache

from epsball.errors import nearest
from epsball.verification.vnnlib.expressions import Bound, Expression, Group, Place, Word, read_expressions
from epsball.verification.vnnlib.formula import And, Comparison, Formula, LinearForm, Or, Variable, comparison

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE]([+-]?\d+))?$")
_VARIABLE = re.compile(r"([XY])_(0|[1-9]\d*)$")
_DECLARATION = re.compile(r"\s*\(\s*declare-const\s+([XY])_(0|[1-9]\d*)\s+Real\s*\)\s*$")
_RELATIONS = {"<=": "<=", ">=": ">=", "<": "<", ">": ">", "=": "=="}
_SIGNS = {"<=": Fraction(1), ">=": Fraction(-1)}
_number = lru_cache(maxsize=4096)(Fraction)
_LARGEST_EXPONENT = 10_000
_DEEPEST = 200


def read_version_1(text: str, path: str) -> tuple[int, int, Formula]:
    """Return the number of inputs and of outputs that a query declares, and what it asserts.

    Raises
    ------
    InputError
        If the file breaks the format; the message names the line.
    UnsupportedOperation
        If it uses what is not a linear comparison, joined by and and or.

    Examples
    --------
    >>> text = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (<= X_0 1.5))"
    >>> inputs, outputs, formula = read_version_1(text, "example")
    >>> inputs, outputs, formula.parts[0].form.constant
    (1, 1, Fraction(-3, 2))
    """
    reader = _Reader(Place(path))
    for line, part in _parts(text):
        if not reader.read_simple(part, line):
            for command in read_expressions(part, reader.place, line):
                reader.read(command)
    return reader.count("X"), reader.count("Y"), And(tuple(reader.asserted))


def _parts(text: str) -> Iterator[tuple[int, str]]:
    """Yield whole commands, several lines together where one goes over them, each with its first line's number."""
    lines: list[str] = []
    depth = 0
    for number, line in enumerate(text.split("\n"), 1):
        lines.append(line)
        code = line.partition(";")[0]
        depth += code.count("(") - code.count(")")
        if depth <= 0:
            yield number - len(lines) + 1, "\n".join(lines)
            lines, depth = [], 0
    if lines:
        yield text.count("\n") + 2 - len(lines), "\n".join(lines)


class _Reader:
    """Reads one command after another."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.declared: dict[Variable, int] = {}
        self.asserted: list[Formula] = []

    def read_simple(self, part: str, line: int) -> bool:
        """Take a declaration as it is usually written; return whether it is one.

        What is not read here is read, or refused, like everything else.
        """
        match = _DECLARATION.match(part)
        if match is None:
            return False
        variable = _variable(match)
        if variable in self.declared:
            return False
        self.declared[variable] = line
        return True

    def read(self, command: Group) -> None:
        """Take a declaration or an assertion."""
        if command.head in ("declare-const", "declare-fun"):
            self._declare(command)
        elif command.head == "assert":
            if len(command.items) != 2:
                self.place.wrong(command.line, f"assert has {len(command.items) - 1} formulas; it takes one.")
            self.asserted.append(self._formula(command.items[1], 0))
        else:
            self.place.wrong(
                command.line,
                f"unknown command '{command.head}'; VNN-LIB 1.0 has declare-const and assert."
                f"{nearest(command.head, ('declare-const', 'assert'))} (A file of version 2.0 begins with "
                "(vnnlib-version <2.0>).)",
            )

    def count(self, side: str) -> int:
        """Return the number of variables of a side; they must be numbered from 0 without gaps."""
        places = {variable.place for variable in self.declared if variable.side == side}
        what = "inputs" if side == "X" else "outputs"
        if not places:
            self.place.wrong(1, f"no {what} are declared; declare {side}_0, {side}_1, ... by declare-const.")
        missing = next((place for place in range(len(places)) if place not in places), None)
        if missing is not None:
            last = max(self.declared[v] for v in self.declared if v.side == side)
            self.place.wrong(last, f"{side}_{missing} is not declared; {what} are numbered from 0 without gaps.")
        return len(places)

    def _declare(self, command: Group) -> None:
        words = [item.text if isinstance(item, Word) else "()" for item in command.items]
        plain = words[1:] if command.head == "declare-const" else [word for word in words[1:] if word != "()"]
        match = _VARIABLE.match(plain[0]) if plain else None
        if match is None or plain[1:] != ["Real"]:
            self.place.wrong(
                command.line,
                f"'{' '.join(words)}' declares no variable; inputs are written (declare-const X_0 Real), outputs Y_0.",
            )
        variable = _variable(match)
        if variable in self.declared:
            before = self.declared[variable]
            self.place.wrong(command.line, f"{variable} is declared again (before in line {before}). Remove one.")
        self.declared[variable] = command.line

    def _formula(self, expression: Expression, depth: int) -> Formula:
        if isinstance(expression, Bound):
            return self._bound(expression)
        if isinstance(expression, Word):
            self.place.wrong(expression.line, f"'{expression.text}' is not a formula; write a comparison, and, or.")
        if depth > _DEEPEST:
            self.place.unsupported(expression.line, f"formulas are nested more than {_DEEPEST} deep. Flatten them.")
        head, parts = expression.head, expression.items[1:]
        if head in ("and", "or"):
            if not parts:
                self.place.wrong(expression.line, f"'{head}' joins nothing; give it at least one formula.")
            inner = tuple(self._formula(part, depth + 1) for part in parts)
            return And(inner) if head == "and" else Or(inner)
        if head not in _RELATIONS:
            known = ("and", "or", *_RELATIONS)
            self.place.unsupported(
                expression.line,
                f"formulas with '{head}' are not read; a formula is one of {', '.join(known)}.{nearest(head, known)}",
            )
        if len(parts) != 2:
            self.place.wrong(expression.line, f"'{head}' compares {len(parts)} terms; it takes two.")
        left, right = (self._term(part, depth + 1) for part in parts)
        return comparison(_RELATIONS[head], left, right, expression.line)

    def _bound(self, bound: Bound) -> Formula:
        """Return v - c <= 0, or c - v <= 0."""
        side, _, place = bound.variable.partition("_")
        variable = Variable("X" if side == "X" else "Y", int(place))
        if variable not in self.declared:
            self._word(Word(bound.variable, bound.line))  # says so
        sign = _SIGNS[bound.relation]
        number = _number(bound.number)
        form = LinearForm(((variable, sign),), -number if bound.relation == "<=" else number)
        return Comparison(form, strict=False, line=bound.line)

    def _term(self, expression: Expression, depth: int) -> LinearForm:
        if isinstance(expression, Word):
            return self._word(expression)
        if isinstance(expression, Bound):
            expression = expression.whole
        if depth > _DEEPEST:
            self.place.unsupported(expression.line, f"terms are nested more than {_DEEPEST} deep. Flatten them.")
        terms = [self._term(part, depth + 1) for part in expression.items[1:]]
        head = expression.head
        if head not in ("+", "-", "*"):
            self.place.unsupported(
                expression.line,
                f"terms with '{head}' are not read; a term is a number, a variable, or (+ ..), (- ..), (* ..).",
            )
        if not terms:
            self.place.wrong(expression.line, f"'{head}' has no terms; give it at least one.")
        return combined(head, terms, self.place, expression.line)

    def _word(self, word: Word) -> LinearForm:
        match = _VARIABLE.match(word.text)
        if match is not None:
            variable = _variable(match)
            if variable not in self.declared:
                self.place.wrong(
                    word.line, f"{variable} is not declared above. Declare it, or correct its number or its spelling."
                )
            return LinearForm.of({variable: Fraction(1)})
        number = _NUMBER.match(word.text)
        if number is None:
            self.place.wrong(
                word.line, f"'{word.text[:40]}' is neither a number nor a variable such as X_0 or Y_0. Correct it."
            )
        if number[1] is not None and abs(int(number[1])) > _LARGEST_EXPONENT:
            self.place.wrong(word.line, f"the exponent of {word.text[:40]} is beyond {_LARGEST_EXPONENT}. Is it meant?")
        return LinearForm(constant=Fraction(word.text))


def combined(operator: str, terms: Sequence[LinearForm], place: Place, line: int) -> LinearForm:
    """Return the sum, the difference or the product of terms.

    Raises
    ------
    UnsupportedOperation
        If more than one factor of a product has variables.
    """
    first, *others = terms
    if operator == "*":
        for other in others:
            if first.terms and other.terms:
                place.unsupported(
                    line, "a product of variables is not linear; comparisons are linear. Keep one factor a number."
                )
            first = first.times(other.constant) if not other.terms else other.times(first.constant)
        return first
    if operator == "-" and not others:
        return first.times(Fraction(-1))
    for other in others:
        first = first.plus(other if operator == "+" else other.times(Fraction(-1)))
    return first


def _variable(match: re.Match[str]) -> Variable:
    return Variable("X" if match[1] == "X" else "Y", int(match[2]))
