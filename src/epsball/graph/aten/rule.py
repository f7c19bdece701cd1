"""The table of rules for aten operators, and `Call`, what a rule gets to know of its call."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from epsball.graph.builder import Builder
from epsball.graph.kinds import Constant
from epsball.graph.value import Shape, Value

aten: Any = torch.ops.aten

Number = int | float
Operand = Value | Tensor | Number
"""A value of the graph, or a tensor or number written in the source."""


class BatchLength:
    """Stands for a number made of the batch's length, ``x.shape[0] // 2``: nodes know no batch.

    Only operators that read lengths off their results may take one.
    """


@dataclass(frozen=True)
class Call:
    """One call of an operator.

    Parameters
    ----------
    builder
        Collects the nodes.
    shape, axis
        Shape of the operator's (first) result with n = 1, and its batch axis or None (see `Value`).
    """

    builder: Builder
    shape: Shape
    axis: int | None

    def value(self, operand: Operand) -> Value:
        """Return an operand as a value of the graph."""
        return operand if isinstance(operand, Value) else self.builder.number(operand)

    def optional(self, operand: Operand | None) -> Value | None:
        """Return an operand as a value, or None."""
        return None if operand is None else self.value(operand)

    def name(self, operand: Operand) -> str:
        """Return the name of the parameter that an operand is; a computed one becomes a parameter ``derived.N``."""
        value = self.value(operand)
        kind = self.builder.kind_of(value)
        return kind.parameter if isinstance(kind, Constant) else self.builder.fold(value)

    def optional_name(self, operand: Operand | None) -> str | None:
        """Return the name of a parameter, or None."""
        return None if operand is None else self.name(operand)


Rule = Callable[..., Any]
RULES: dict[Any, Rule] = {}
"""For each operator, a function of the call and its arguments that returns its result as a value."""


def rule(*operators: Any) -> Callable[[Rule], Rule]:
    """Register a rule for operators."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(operators, function))
        return function

    return register
