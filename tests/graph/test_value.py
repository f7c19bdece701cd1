"""Views of a tensor whose batch lies anywhere are views of each example."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from epsball.graph import operations
from epsball.graph.builder import Builder

BATCH = 3


def _factors(draw, total: int) -> list[int]:
    """Draw a way to write a number as a product."""
    factors = []
    while total > 1:
        factor = draw(st.sampled_from([d for d in range(2, total + 1) if total % d == 0]))
        factors.append(factor)
        total //= factor
    return factors or [1]


@given(st.data())
def test_reshapes_and_permutations_are_those_of_each_example(data) -> None:
    shape = data.draw(st.sampled_from([(12,), (2, 3, 2), (4, 6), (3, 1, 4)]))
    builder = Builder(shape, torch.float32, {}, "net")
    x = torch.rand(BATCH, *shape)
    value, tensor = builder.input, x
    for _ in range(data.draw(st.integers(1, 5))):
        if data.draw(st.booleans()):
            axes = data.draw(st.permutations(range(value.rank)))
            value, tensor = operations.permute(builder, value, axes), tensor.permute(*axes)
            continue
        before, after = value.before, math.prod(value.shape) // value.before
        outside, inside = _factors(data.draw, before), _factors(data.draw, after)
        merged = data.draw(st.sampled_from(["alone", "outer", "inner"]))
        outer = outside.pop() if merged == "outer" else 1
        inner = inside.pop(0) if merged == "inner" else 1
        target = (*outside, outer * inner, *inside)
        full = (*outside, outer * BATCH * inner, *inside)
        value = operations.reshape(builder, value, target, len(outside))
        tensor = tensor.reshape(full)
    rest = math.prod(value.shape) // value.before
    value = operations.reshape(builder, value, (value.before, 1, rest), 1)
    rows = operations.reshape(builder, operations.permute(builder, value, (1, 0, 2)), (1, math.prod(shape)), 0)
    expected = tensor.reshape(-1, BATCH, rest).permute(1, 0, 2).reshape(BATCH, -1)
    assert torch.equal(builder.finish(rows)(x), expected)
