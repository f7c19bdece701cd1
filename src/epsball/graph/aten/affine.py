"""Linear layers, convolutions and matrix products."""

from collections.abc import Sequence
from itertools import chain

from epsball.graph import kinds, operations
from epsball.graph.aten.rule import Call, Number, Operand, aten, rule
from epsball.graph.value import Value


@rule(aten.linear.default)
def linear(call: Call, x: Operand, weight: Operand, bias: Operand | None = None) -> Value:
    """Return x W^T + b; a weight that is itself computed becomes a factor of a matrix product."""
    x, matrix = call.value(x), call.value(weight)
    builder = call.builder
    plain = all(
        part is None or isinstance(builder.kind_of(call.value(part)), kinds.Constant) for part in (matrix, bias)
    )
    if plain and matrix.axis is None and matrix.rank == 2 and x.axis != x.rank - 1:
        return operations.linear(builder, x, call.name(matrix), call.optional_name(bias))
    product = operations.matmul(builder, x, operations.permute(builder, matrix, range(matrix.rank)[::-1]))
    return product if bias is None else operations.add(builder, product, call.value(bias))


@rule(aten.matmul.default, aten.mm.default, aten.bmm.default, aten.mv.default, aten.dot.default)
def matmul(call: Call, a: Operand, b: Operand) -> Value:
    """Return the matrix product."""
    return operations.matmul(call.builder, call.value(a), call.value(b))


@rule(aten.addmm.default, aten.baddbmm.default)
def addmm(call: Call, c: Operand, a: Operand, b: Operand, *, beta: Number = 1, alpha: Number = 1) -> Value:
    """Return beta C + alpha A B."""
    builder = call.builder
    product = operations.matmul(builder, call.value(a), call.value(b))
    terms = [(call.value(c), beta), (product, alpha)]
    scaled = [v if factor == 1 else operations.multiply(builder, v, builder.number(factor)) for v, factor in terms]
    return operations.add(builder, scaled[0], scaled[1])


@rule(aten.conv1d.default, aten.conv2d.default, aten.conv3d.default)
def convolution(
    call: Call,
    x: Operand,
    weight: Operand,
    bias: Operand | None = None,
    stride: Sequence[int] = (1,),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    groups: int = 1,
) -> Value:
    """Return a convolution with zero padding."""
    return _convolved(call, x, weight, bias, groups, stride=stride, padding=padding, dilation=dilation)


@rule(aten.conv1d.padding, aten.conv2d.padding, aten.conv3d.padding)
def named_padding(
    call: Call,
    x: Operand,
    weight: Operand,
    bias: Operand | None = None,
    stride: Sequence[int] = (1,),
    padding: str = "valid",
    dilation: Sequence[int] = (1,),
    groups: int = 1,
) -> Value:
    """Return a convolution padded to the size of its input; where the border is odd, the end gets one more."""
    x = operations.whole_example(call.builder, call.value(x))
    kernel = call.value(weight).shape[2:]
    borders = [d * (k - 1) * (padding == "same") for k, d in zip(kernel, per_axis(dilation, len(kernel)), strict=True)]
    odd = [border % 2 for border in borders]
    if any(odd):
        widths = tuple(chain.from_iterable((0, width) for width in reversed(odd)))
        x = operations.per_example(call.builder, x, kinds.Pad(widths=widths))
    return convolution(call, x, weight, bias, stride, [border // 2 for border in borders], dilation, groups)


@rule(aten.conv_transpose1d.default, aten.conv_transpose2d.input, aten.conv_transpose3d.input)
def transposed(
    call: Call,
    x: Operand,
    weight: Operand,
    bias: Operand | None = None,
    stride: Sequence[int] = (1,),
    padding: Sequence[int] = (0,),
    output_padding: Sequence[int] = (0,),
    groups: int = 1,
    dilation: Sequence[int] = (1,),
) -> Value:
    """Return the transpose of a convolution."""
    lengths = {"stride": stride, "padding": padding, "dilation": dilation, "output_padding": output_padding}
    return _convolved(call, x, weight, bias, groups, transposed=True, **lengths)


def _convolved(
    call: Call,
    x: Operand,
    weight: Operand,
    bias: Operand | None,
    groups: int,
    *,
    transposed: bool = False,
    **lengths: Sequence[int],
) -> Value:
    """Return a convolution or the transpose of one; `lengths` are one number for all spatial axes or one per axis."""
    count = call.value(weight).rank - 2
    kind = kinds.Convolution(
        weight=call.name(weight),
        bias=call.optional_name(bias),
        groups=groups,
        transposed=transposed,
        **{name: per_axis(numbers, count) for name, numbers in lengths.items()},
    )
    return operations.per_example(call.builder, call.value(x), kind)


def per_axis(numbers: int | Sequence[int], count: int) -> tuple[int, ...]:
    """Return one number per axis from one for all axes, or from one per axis."""
    numbers = (numbers,) if isinstance(numbers, int) else tuple(numbers)
    return numbers * count if len(numbers) == 1 else numbers
