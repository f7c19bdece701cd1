"""Sums of products over letters, as matrix products."""

import math
from typing import NamedTuple

import numpy as np

from epsball.graph import operations
from epsball.graph.builder import Builder
from epsball.graph.onnx.rule import Call, rule
from epsball.graph.value import Value


class Letters(NamedTuple):
    """The letters of a product of two tensors: shared and kept, of the first alone, of the second alone, summed."""

    shared: str
    first: str
    second: str
    summed: str


@rule("Einsum")
def einsum(call: Call) -> Value:
    """Return the sum of products that an equation of two factors names."""
    builder, equation = call.builder, call.attribute("equation", "").replace(" ", "")
    sources, _, result = equation.partition("->")
    one, comma, other = sources.partition(",")
    if not comma or "," in other or "." in equation or len(set(one)) < len(one) or len(set(other)) < len(other):
        builder.refuse(f"its equation '{equation}' is not of two factors, each letter once in each")
    if "->" not in equation:
        result = "".join(sorted(letter for letter in {*one, *other} if (one + other).count(letter) == 1))
    a, b = call.value(0), call.value(1)
    if isinstance(call.given(0), np.ndarray):
        one, other, a, b = other, one, b, a
    parts = _letters(builder, equation, one, other, result)
    return _product(builder, (a, one), (b, other), parts, result)


def _letters(builder: Builder, equation: str, one: str, other: str, result: str) -> Letters:
    alone = [letter for letter in one + other if (one + other).count(letter) == 1]
    if set(result) - {*one, *other} or not set(alone) <= set(result):
        builder.refuse(f"its equation '{equation}' sums over a letter of one factor alone, or names one of none")
    return Letters(
        "".join(letter for letter in one if letter in other and letter in result),
        "".join(letter for letter in one if letter not in other),
        "".join(letter for letter in other if letter not in one),
        "".join(letter for letter in one if letter in other and letter not in result),
    )


def _product(builder: Builder, a: tuple[Value, str], b: tuple[Value, str], letters: Letters, result: str) -> Value:
    """Return (shared, first, summed) times (shared, summed, second), its axes in the order of the result."""
    shared, first, second, summed = letters
    lengths = dict(zip(a[1] + b[1], a[0].shape + b[0].shape, strict=True))

    def of(text: str) -> tuple[int, ...]:
        return tuple(lengths[letter] for letter in text)

    left = _ordered(builder, *a, shared + first + summed)
    right = _ordered(builder, *b, shared + summed + second)
    # Without shared letters the second factor is one matrix, and the first keeps its axes, the batch among them.
    rows = of(first) if not shared else (math.prod(of(first)),)
    left = operations.reshape(builder, left, (*of(shared), *rows, math.prod(of(summed))))
    right = operations.reshape(builder, right, (*of(shared), math.prod(of(summed)), math.prod(of(second))))
    product = operations.matmul(builder, left, right)
    product = operations.reshape(builder, product, of(shared + first + second))
    return _ordered(builder, product, shared + first + second, result)


def _ordered(builder: Builder, x: Value, letters: str, wanted: str) -> Value:
    """Return a value with its axes in another order."""
    return operations.permute(builder, x, [letters.index(letter) for letter in wanted])
