"""VNN-LIB 2.0, parsed and type-checked by the package `vnnlib` (extra ``vnnlib``); its numbers are taken as written."""

import json
import math
from collections.abc import Sequence
from fractions import Fraction
from importlib import import_module
from typing import Any

from epsball.errors import InputError, MissingExtra, UnsupportedOperation
from epsball.verification.vnnlib.expressions import Place
from epsball.verification.vnnlib.formula import And, Formula, LinearForm, Or, Variable, comparison
from epsball.verification.vnnlib.version_1 import combined

_RELATIONS = {
    "LessEqual": "<=",
    "GreaterEqual": ">=",
    "LessThan": "<",
    "GreaterThan": ">",
    "Equal": "==",
    "NotEqual": "!=",
}
_OPERATORS = {"Plus": "+", "Minus": "-", "Multiply": "*", "Negate": "-"}

Declared = tuple[str, str, tuple[int, ...]]
"""Name, element type as written, and shape."""


def read_version_2(text: str, path: str) -> tuple[str, Declared, Declared, Formula]:
    """Return a query's network, its input, its output, and what it asserts.

    Raises
    ------
    MissingExtra
        If the package `vnnlib` is not installed.
    InputError
        If the package finds an error in the query.
    UnsupportedOperation
        If it is about several networks, inputs or outputs, hidden nodes, or not linear.
    """
    package = _package()
    try:
        query = package.parse_query_string(text)
    except package.VNNLibException as error:
        raise InputError(f"{path}{_complaint(str(error))} Correct it there.") from error
    (network,) = _one(query.networks, "networks", path)
    if network.hidden:
        raise UnsupportedOperation(
            f"{path} declares hidden nodes; queries about inputs and outputs are read. Make the node an output."
        )
    (source,), (result,) = _one(network.inputs, "inputs", path), _one(network.outputs, "outputs", path)
    reader = _Reader(Place(path), {source.name: "X", result.name: "Y"})
    asserted = And(tuple(reader.formula(assertion.expr) for assertion in query.assertions))
    return network.name, _declared(source), _declared(result), asserted


def _complaint(text: str) -> str:
    """Return what the package says: its first error with its line, from JSON where it is JSON."""
    try:
        first = json.loads(text)["errors"][0]
        return f", line {first['line']}: {first['message']} ({first['offendingSymbol']}). {first['hint']}"
    except (ValueError, LookupError, TypeError):
        return f" is not a query of VNN-LIB 2.0: {text.strip()}."


def _package() -> Any:
    try:
        return import_module("vnnlib")
    except ModuleNotFoundError as error:
        if error.name == "vnnlib":
            raise MissingExtra("vnnlib", "vnnlib", "reading VNN-LIB 2.0") from error
        raise


def _one(found: Sequence[Any], what: str, path: str) -> Sequence[Any]:
    if len(found) != 1:
        raise UnsupportedOperation(
            f"{path} declares {len(found)} {what} ({', '.join(one.name for one in found)}); queries about one network "
            "with one input and one output are read."
        )
    return found


def _declared(definition: Any) -> Declared:
    # The package keeps the element type's spelling in the text of a definition only: (declare-input X Real [5]).
    words = str(definition).strip("() ").split()
    return definition.name, words[2], tuple(definition.shape)


class _Reader:
    """Turns the package's nodes into formulas."""

    def __init__(self, place: Place, sides: dict[str, Any]) -> None:
        self.place, self.sides = place, sides

    def formula(self, node: Any) -> Formula:
        """Return a Boolean node as a formula."""
        kind = type(node).__name__
        if kind in ("And", "Or"):
            parts = tuple(self.formula(part) for part in node.args)
            return And(parts) if kind == "And" else Or(parts)
        left, right = self._term(node.lhs), self._term(node.rhs)
        return comparison(_RELATIONS[kind], left, right, _line(node))

    def _term(self, node: Any) -> LinearForm:
        kind = type(node).__name__
        if kind == "Var":
            place = 0
            for index, length in zip(node.indices, node.shape, strict=True):
                place = place * length + index
            return LinearForm.of({Variable(self.sides[node.name], place): Fraction(1)})
        if kind not in _OPERATORS:
            return LinearForm(constant=Fraction(node.lexeme))
        parts = [node.expr] if kind == "Negate" else [node.head, *node.rest] if kind == "Minus" else node.args
        terms = [self._term(part) for part in parts]
        return combined(_OPERATORS[kind], terms, self.place, _line(node))


def _line(node: Any) -> int:
    """Return the first line that a node's words stand in; 0 if it has none."""
    if hasattr(node, "line"):
        return node.line
    return next((line for line in map(_line, node.children()) if line), 0)


def entries(shape: Sequence[int]) -> int:
    """Return the number of entries of a declared shape."""
    return math.prod(shape)
