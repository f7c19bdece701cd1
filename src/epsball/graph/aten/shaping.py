"""Views, permutations, slices, padding and upsampling."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from epsball.graph import kinds, operations
from epsball.graph.aten.rule import RULES, BatchLength, Call, Number, Operand, aten, rule
from epsball.graph.kinds.shaping import PadMode, UpsampleMode
from epsball.graph.value import Value


@rule(
    *(aten.view.default, aten.reshape.default, aten._unsafe_view.default, aten.view_as.default),
    *(aten.flatten.using_ints, aten.unflatten.int),
    *(aten.squeeze.default, aten.squeeze.dim, aten.squeeze.dims, aten.unsqueeze.default),
)
def reshape(call: Call, x: Operand, *_: Any) -> Value:
    """Return the same entries, in memory order, under the shape of the result."""
    return operations.reshape(call.builder, call.value(x), call.shape, call.axis)


@rule(
    *(aten.contiguous.default, aten.clone.default, aten.alias.default, aten.detach.default, aten.detach_.default),
    *(aten.lift_fresh_copy.default, aten.lift_fresh.default, aten.positive.default),
)
def same(call: Call, x: Operand, **_: Any) -> Value:
    """Return x itself."""
    return call.value(x)


@rule(aten.dropout.default, aten.feature_dropout.default, aten.alpha_dropout.default, aten.native_dropout.default)
def dropout(call: Call, x: Operand, p: Number, train: bool | None) -> Value:
    """Return x itself: nothing is dropped in evaluation."""
    if train and p > 0:
        call.builder.refuse("it drops entries at random in evaluation too; give it training=self.training")
    return call.value(x)


@rule(aten._to_copy.default, aten.to.dtype, aten.to.dtype_layout, aten.to.device, aten.to.other, aten.type_as.default)
def cast(call: Call, x: Operand, *_: Any, **__: Any) -> Value:
    """Return x itself; `translate` has checked that the dtype stays."""
    return call.value(x)


@rule(aten.permute.default)
def permute(call: Call, x: Operand, axes: Sequence[int]) -> Value:
    """Return x with axis i its axis ``axes[i]``."""
    return operations.permute(call.builder, call.value(x), axes)


@rule(aten.transpose.int, aten.t.default, aten.numpy_T.default, aten.mT.default)
def transpose(call: Call, x: Operand, a: int = -2, b: int = -1) -> Value:
    """Return x with two axes exchanged."""
    x = call.value(x)
    axes = list(range(x.rank))
    if x.rank > 1:
        axes[a], axes[b] = axes[b], axes[a]
    return operations.permute(call.builder, x, axes)


RULES[aten.movedim.int] = lambda call, x, source, to: movedim(call, x, [source], [to])


@rule(aten.movedim.intlist)
def movedim(call: Call, x: Operand, source: Sequence[int], to: Sequence[int]) -> Value:
    """Return x with axes moved to other positions, the rest in order."""
    x = call.value(x)
    moved = dict(zip((axis % x.rank for axis in to), (axis % x.rank for axis in source), strict=True))
    rest = (axis for axis in range(x.rank) if axis not in moved.values())
    return operations.permute(call.builder, x, [moved[i] if i in moved else next(rest) for i in range(x.rank)])


@rule(aten.expand.default, aten.expand_as.default, aten.broadcast_to.default)
def expand(call: Call, x: Operand, *_: Any, **__: Any) -> Value:
    """Return x with axes of length 1 repeated."""
    return operations.expand(call.builder, call.value(x), call.shape, call.axis)


@rule(aten.slice.Tensor)
def take(
    call: Call,
    x: Operand,
    axis: int = 0,
    start: int | BatchLength | None = None,
    end: int | BatchLength | None = None,
    step: int = 1,
) -> Value:
    """Return entries start, start + step, ... before `end` of an axis; the batch's own length is its end."""
    x = call.value(x)
    if isinstance(start, BatchLength) or isinstance(end, BatchLength):
        if (axis % x.rank, start or 0, step) != (x.axis, 0, 1) or (call.shape, call.axis) != (x.shape, x.axis):
            call.builder.refuse_batch("computes with the number of rows")
        return x
    last = x.shape[axis] if end is None else end
    return operations.take(call.builder, x, axis, start or 0, last, step)


@rule(aten.narrow.default)
def narrow(call: Call, x: Operand, axis: int, start: int, length: int) -> Value:
    """Return entries of an axis from `start` on."""
    return operations.take(call.builder, call.value(x), axis, start, start + length)


@rule(aten.select.int)
def select(call: Call, x: Operand, axis: int, number: int) -> Value:
    """Return the entries at one index of an axis."""
    return operations.select(call.builder, call.value(x), axis, number)


@rule(aten.index_select.default)
def index_select(call: Call, x: Operand, axis: int, index: Tensor) -> Value:
    """Return entries of an axis by index."""
    return operations.gather(call.builder, call.value(x), axis, _numbers(call, index))


@rule(aten.embedding.default)
def embedding(call: Call, weight: Operand, index: Tensor, *_: Any) -> Value:
    """Return rows of a matrix by indices that do not depend on the input."""
    rows = operations.gather(call.builder, call.value(weight), 0, _numbers(call, index))
    return operations.reshape(call.builder, rows, call.shape, None)


@rule(aten.index.Tensor)
def index(call: Call, x: Operand, indices: Sequence[Tensor | None]) -> Value:
    """Return entries along one axis by a tensor of indices, or a mask."""
    given = [(axis, number) for axis, number in enumerate(indices) if number is not None]
    if len(given) != 1:
        call.builder.refuse("it indexes by several tensors at once; index one axis after the other")
    ((axis, numbers),) = given
    taken = operations.gather(call.builder, call.value(x), axis, _numbers(call, numbers))
    return operations.reshape(call.builder, taken, call.shape, call.axis)


@rule(aten.flip.default)
def flip(call: Call, x: Operand, axes: Sequence[int]) -> Value:
    """Return x with the entries of axes in reversed order."""
    x = call.value(x)
    for axis in axes:
        x = operations.gather(call.builder, x, axis, range(x.shape[axis])[::-1])
    return x


@rule(aten.roll.default)
def roll(call: Call, x: Operand, shifts: Sequence[int], axes: Sequence[int] = ()) -> Value:
    """Return x with the entries of axes shifted cyclically."""
    x = call.value(x)
    if not axes:
        call.builder.refuse("it rolls over all axes, the batch too; name axes")
    for shift, axis in zip(shifts, axes, strict=True):
        length = x.shape[axis]
        x = operations.gather(call.builder, x, axis, [(i - shift) % length for i in range(length)])
    return x


@rule(aten.pad.default)
def pad(
    call: Call, x: Operand, widths: Sequence[int], mode: PadMode = "constant", value: Number | None = None
) -> Value:
    """Return x with borders added to the last axes, the last axis first; negative widths cut."""
    x = call.value(x)
    axes = range(x.rank - 1, x.rank - 1 - len(widths) // 2, -1)
    borders = dict(zip(axes, zip(widths[::2], widths[1::2], strict=True), strict=True))
    x, added = operations.crop(call.builder, x, borders)
    widths = tuple(chain.from_iterable(added.values()))
    if not any(widths):
        return x
    return operations.per_example(call.builder, x, kinds.Pad(widths=widths, mode=mode, value=float(value or 0.0)))


@rule(aten.constant_pad_nd.default)
def constant_pad(call: Call, x: Operand, widths: Sequence[int], value: Number = 0) -> Value:
    """Return x with borders of one value."""
    return pad(call, x, widths, "constant", value)


_UPSAMPLES: dict[Any, UpsampleMode] = {
    aten.upsample_nearest1d.vec: "nearest",
    aten.upsample_nearest2d.vec: "nearest",
    aten.upsample_nearest3d.vec: "nearest",
    aten._upsample_nearest_exact1d.vec: "nearest-exact",
    aten._upsample_nearest_exact2d.vec: "nearest-exact",
    aten._upsample_nearest_exact3d.vec: "nearest-exact",
    aten.upsample_linear1d.vec: "linear",
    aten.upsample_bilinear2d.vec: "bilinear",
    aten.upsample_trilinear3d.vec: "trilinear",
}


def _upsample(mode: UpsampleMode):
    def apply(call: Call, x: Operand, size: Sequence[int] | None, *rest: Any) -> Value:
        """Return x interpolated to a size, or by factors."""
        *corners, scales = rest
        kind = kinds.Upsample(
            size=tuple(size or call.shape[2:]),
            mode=mode,
            align_corners=corners[0] if corners else None,
            scales=tuple(scales or ()),
        )
        return operations.per_example(call.builder, call.value(x), kind)

    return apply


RULES.update({operator: _upsample(mode) for operator, mode in _UPSAMPLES.items()})


def _numbers(call: Call, index: Tensor) -> list[int]:
    if isinstance(index, Value):
        call.builder.refuse("which entries it takes depends on the input")
    flat = index.nonzero() if index.dtype == torch.bool else index
    return [int(number) for number in flat.reshape(-1)]
