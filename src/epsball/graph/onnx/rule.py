"""The table of rules for ONNX operators, and `Call`, what a rule gets to know of its node."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from epsball.graph import operations
from epsball.graph.builder import Builder
from epsball.graph.value import Value

Given = Value | np.ndarray | None
"""An input of a node: computed, constant, or left out."""

Rule = Callable[["Call"], Any]
RULES: dict[str, Rule] = {}
"""For each operator, a function of its call that returns its result, or a list of results."""


@dataclass(frozen=True)
class Call:
    """One node of the file.

    Parameters
    ----------
    builder
        Takes the nodes.
    opset
        Version of the operators.
    inputs
        Its inputs, in order.
    names
        The names of its inputs.
    attributes
        Those written in the file; the rest have their defaults.
    outputs
        How many results are used.
    """

    builder: Builder
    opset: int
    inputs: Sequence[Given]
    names: Sequence[str]
    outputs: int
    attributes: dict[str, Any] = field(default_factory=dict)

    def given(self, position: int) -> Given:
        """Return an input, None if it is left out."""
        return self.inputs[position] if position < len(self.inputs) else None

    def value(self, position: int = 0) -> Value:
        """Return an input as a value of the graph."""
        given = self.given(position)
        if given is None:
            self.builder.refuse(f"it has no input {position}")
        return given if isinstance(given, Value) else self.builder.parameter(self.name(position))

    def values(self) -> list[Value]:
        """Return all inputs as values of the graph."""
        return [self.value(position) for position in range(len(self.inputs))]

    def array(self, position: int) -> np.ndarray | None:
        """Return a constant input, None if it is left out."""
        given = self.given(position)
        if isinstance(given, Value):
            self.builder.refuse(f"its input {position} depends on the network's input; it must be a constant")
        return given

    def constant(self, position: int) -> np.ndarray:
        """Return a constant input that may not be left out."""
        array = self.array(position)
        if array is None:
            self.builder.refuse(f"it has no input {position}")
        return array

    def name(self, position: int, array: np.ndarray | None = None, suffix: str = "") -> str:
        """Return the name of a parameter with a constant input, or an array made from it, in the graph's dtype."""
        name = self.names[position] + suffix
        tensor = torch.from_numpy(np.array(self.constant(position) if array is None else array))
        self.builder.parameters[name] = tensor.to(self.builder.dtype)
        return name

    def optional_name(self, position: int) -> str | None:
        """Return the name of the parameter that holds an input, or None."""
        return None if self.array(position) is None else self.name(position)

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute."""
        return self.attributes.get(name, default)

    def integers(self, name: str, position: int) -> list[int] | None:
        """Return integers that older operator sets have as an attribute and newer ones as an input."""
        array = self.array(position) if position < len(self.inputs) else None
        if array is not None:
            return numbers(array)
        return None if self.attribute(name) is None else list(self.attribute(name))

    def unary(self, function: str, *arguments: int | float) -> Value:
        """Return f(x) of the first input, entry by entry."""
        return operations.unary(self.builder, self.value(), function, *arguments)


def numbers(array: np.ndarray) -> list[int]:
    """Return the integers of an array."""
    return [int(number) for number in array.reshape(-1)]


def rule(*operators: str) -> Callable[[Rule], Rule]:
    """Register a rule for operators."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(operators, function))
        return function

    return register
