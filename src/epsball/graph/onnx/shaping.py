"""Reshapes, permutations, slices, padding, joining and resizing."""

import math
from collections.abc import Sequence

import numpy as np

from epsball.graph import kinds, operations
from epsball.graph.kinds.shaping import PadMode, UpsampleMode
from epsball.graph.onnx.rule import Call, numbers, rule
from epsball.graph.value import Value

_PAD_MODES: dict[str, PadMode] = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
_LINEAR_MODES: dict[int, UpsampleMode] = {3: "linear", 4: "bilinear", 5: "trilinear"}


@rule("Shape")
def shape(call: Call) -> np.ndarray:
    """Return the shape of x, its batch taken as 1."""
    x = call.value()
    return np.array(x.shape[call.attribute("start", 0) : call.attribute("end", x.rank)], dtype=np.int64)


@rule("Reshape")
def reshape(call: Call) -> Value:
    """Return x under a shape; 0 keeps a length, -1 stands for what is left."""
    x, target = call.value(0), numbers(call.constant(1))
    if not call.attribute("allowzero", 0):
        target = [x.shape[i] if length == 0 else length for i, length in enumerate(target)]
    left = math.prod(x.shape) // max(math.prod(length for length in target if length != -1), 1)
    return operations.reshape(call.builder, x, tuple(left if length == -1 else length for length in target))


@rule("Flatten")
def flatten(call: Call) -> Value:
    """Return x as a matrix: the axes before `axis`, and the rest."""
    x, axis = call.value(), call.attribute("axis", 1)
    axis = axis + x.rank if axis < 0 else axis
    return operations.reshape(call.builder, x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@rule("Squeeze")
def squeeze(call: Call) -> Value:
    """Return x without axes of length 1."""
    x, axes = call.value(0), call.integers("axes", 1)
    left_out = [i for i, n in enumerate(x.shape) if n == 1 and i != x.axis]
    if axes is not None:
        left_out = [axis % x.rank for axis in axes]
    return operations.reshape(call.builder, x, tuple(n for i, n in enumerate(x.shape) if i not in left_out))


@rule("Unsqueeze")
def unsqueeze(call: Call) -> Value:
    """Return x with new axes of length 1."""
    x, axes = call.value(0), call.integers("axes", 1) or []
    rank = x.rank + len(axes)
    new = {axis % rank for axis in axes}
    old = iter(range(x.rank))
    sources = [None if i in new else next(old) for i in range(rank)]
    batch = None if x.axis is None else sources.index(x.axis)
    lengths = tuple(1 if source is None else x.shape[source] for source in sources)
    return operations.reshape(call.builder, x, lengths, batch)


@rule("Transpose")
def transpose(call: Call) -> Value:
    """Return x with its axes in another order."""
    x = call.value()
    return operations.permute(call.builder, x, call.attribute("perm", list(range(x.rank))[::-1]))


@rule("Expand")
def expand(call: Call) -> Value:
    """Return x with axes of length 1 repeated."""
    x = call.value(0)
    target = np.broadcast_shapes(x.shape, tuple(numbers(call.constant(1))))
    axis = None if x.axis is None else x.axis + len(target) - x.rank
    return operations.expand(call.builder, x, tuple(int(length) for length in target), axis)


@rule("Tile")
def tile(call: Call) -> Value:
    """Return x repeated along axes."""
    x = call.value(0)
    for axis, times in enumerate(numbers(call.constant(1))):
        if times != 1:
            x = operations.gather(call.builder, x, axis, list(range(x.shape[axis])) * times)
    return x


@rule("Concat")
def concatenate(call: Call) -> Value:
    """Return the inputs concatenated along an axis."""
    return operations.concatenate(call.builder, call.values(), call.attribute("axis"))


@rule("Split")
def split(call: Call) -> list[Value]:
    """Return pieces of an axis."""
    x, axis, lengths = call.value(0), call.attribute("axis", 0), call.integers("split", 1)
    if lengths is None:
        count = call.attribute("num_outputs", call.outputs)
        piece = -(-x.shape[axis] // count)
        lengths = [min(piece, x.shape[axis] - i * piece) for i in range(count)]
    return operations.split(call.builder, x, axis, lengths)


@rule("Slice")
def take(call: Call) -> Value:
    """Return entries start, start + step, ... before end of axes."""
    x = call.value(0)
    starts, ends = call.integers("starts", 1) or [], call.integers("ends", 2) or []
    axes = call.integers("axes", 3) or list(range(len(starts)))
    steps = call.integers("steps", 4) or [1] * len(starts)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        x = operations.take(call.builder, x, axis, start, end, step)
    return x


@rule("Gather")
def gather(call: Call) -> Value:
    """Return entries of an axis by index."""
    x, index = call.value(0), call.constant(1)
    axis = call.attribute("axis", 0) % x.rank
    if index.ndim == 0:
        return operations.select(call.builder, x, axis, int(index))
    taken = operations.gather(call.builder, x, axis, numbers(index))
    if index.ndim == 1:
        return taken
    batch = None if x.axis is None else x.axis + (index.ndim - 1) * (x.axis > axis)
    return operations.reshape(call.builder, taken, (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]), batch)


@rule("Pad")
def pad(call: Call) -> Value:
    """Return x with borders; negative widths cut."""
    x = call.value(0)
    mode = _PAD_MODES.get(call.attribute("mode", "constant"))
    widths, axes = call.integers("pads", 1) or [], call.integers("axes", 3) or list(range(x.rank))
    fill = call.array(2)
    value = call.attribute("value", 0.0) if fill is None or not fill.size else float(fill.reshape(()))
    half = len(widths) // 2
    borders = dict(zip((axis % x.rank for axis in axes), zip(widths[:half], widths[half:], strict=True), strict=True))
    x, added = operations.crop(call.builder, x, borders)
    if not any(map(any, added.values())):
        return x
    first = min(axis for axis, both in added.items() if any(both))
    if first == x.axis:
        call.builder.refuse_batch("adds rows to the batch")
    order = [width for axis in reversed(range(first, x.rank)) for width in added.get(axis, (0, 0))]
    if mode is None:
        call.builder.refuse(f"the mode {call.attribute('mode')!r} has no rule")
    if mode != "constant" and (len(order) != 2 * (x.rank - 2) or x.rank > 5):
        return _repeated(call, x, added, mode)
    return operations.per_example(call.builder, x, kinds.Pad(widths=tuple(order), mode=mode, value=value))


def _repeated(call: Call, x: Value, borders: operations.Borders, mode: PadMode) -> Value:
    """Return x with borders of its own entries, one axis after the other."""
    for axis, (before, after) in borders.items():
        n = x.shape[axis]
        if mode == "reflect" and max(before, after) >= n:
            call.builder.refuse(f"it reflects {max(before, after)} entries of an axis of length {n}")
        places = range(-before, n + after)
        indices = {
            "replicate": lambda p, n=n: min(max(p, 0), n - 1),
            "reflect": lambda p, n=n: n - 1 - abs(n - 1 - abs(p)),
            "circular": lambda p, n=n: p % n,
        }
        if before or after:
            x = operations.gather(call.builder, x, axis, [indices[mode](place) for place in places])
    return x


@rule("DepthToSpace", "SpaceToDepth")
def depth_to_space(call: Call) -> Value:
    """Return x with blocks of channels moved into space, or blocks of space into channels."""
    x, block = operations.whole_example(call.builder, call.value()), call.attribute("blocksize")
    _, c, h, w = x.shape
    if call.builder.operation == "SpaceToDepth":
        split_shape, axes = (1, c, h // block, block, w // block, block), (0, 3, 5, 1, 2, 4)
        result = (1, c * block * block, h // block, w // block)
    else:
        depth, result = c // block**2, (1, c // block**2, h * block, w * block)
        by_column = call.attribute("mode", "DCR") == "CRD"
        split_shape = (1, depth, block, block, h, w) if by_column else (1, block, block, depth, h, w)
        axes = (0, 1, 4, 2, 5, 3) if by_column else (0, 3, 4, 1, 5, 2)
    blocks = operations.reshape(call.builder, x, split_shape, 0)
    return operations.reshape(call.builder, operations.permute(call.builder, blocks, axes), result, 0)


@rule("Resize", "Upsample")
def resize(call: Call) -> Value:
    """Return x at another size: nearest entries as an exact gather, or linear interpolation."""
    x = operations.whole_example(call.builder, call.value(0))
    scales, sizes = _scales(call, x)
    mode = call.attribute("mode", "nearest")
    old = call.builder.operation == "Upsample" or call.opset < 11
    place = call.attribute("coordinate_transformation_mode", "asymmetric" if old else "half_pixel")
    if scales[:2] != [1, 1] or call.attribute("antialias", 0):
        call.builder.refuse("it resizes channels, or smooths before it shrinks")
    if mode == "nearest":
        rounding = call.attribute("nearest_mode", "floor" if old else "round_prefer_floor")
        for axis in range(2, x.rank):
            index = _nearest(call, x.shape[axis], sizes[axis], scales[axis], place, rounding)
            if index != list(range(x.shape[axis])):
                x = operations.gather(call.builder, x, axis, index)
        return x
    if mode != "linear" or place not in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        call.builder.refuse(f"the mode {mode!r} with coordinates {place!r} has no rule")
    kind = kinds.Upsample(
        size=tuple(sizes[2:]),
        mode=_LINEAR_MODES[x.rank],
        align_corners=place == "align_corners",
        scales=() if place == "align_corners" else tuple(scales[2:]),
    )
    return operations.per_example(call.builder, x, kind)


def _scales(call: Call, x: Value) -> tuple[list[float], list[int]]:
    """Return the factor and the new length of each axis."""
    position = 1 if call.builder.operation == "Upsample" or call.opset < 11 else 2
    axes = [axis % x.rank for axis in call.attribute("axes", range(x.rank))]
    written = call.attribute("scales") if call.given(position) is None else call.constant(position).reshape(-1)
    if written is not None and len(written):
        named = dict(zip(axes, map(float, written), strict=True))
        factors = [named.get(axis, 1.0) for axis in range(x.rank)]
        return factors, [math.floor(n * factor) for n, factor in zip(x.shape, factors, strict=True)]
    if call.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        call.builder.refuse("a size that keeps the ratio of its sides has no rule; give both sides")
    lengths = dict(zip(axes, numbers(call.constant(3)), strict=True))
    sizes = [lengths.get(axis, n) for axis, n in enumerate(x.shape)]
    return [size / n for size, n in zip(sizes, x.shape, strict=True)], sizes


def _nearest(call: Call, n: int, size: int, scale: float, place: str, rounding: str) -> list[int]:
    """Return the index of the entry that each new entry copies, by the operator's formulas."""
    coordinates = {
        "asymmetric": lambda i: i / scale,
        "half_pixel": lambda i: (i + 0.5) / scale - 0.5,
        "pytorch_half_pixel": lambda i: (i + 0.5) / scale - 0.5 if size > 1 else 0.0,
        "align_corners": lambda i: i * (n - 1) / (size - 1) if size > 1 else 0.0,
    }
    roundings = {
        "floor": math.floor,
        "ceil": math.ceil,
        "round_prefer_floor": lambda at: math.ceil(at - 0.5),
        "round_prefer_ceil": lambda at: math.floor(at + 0.5),
    }
    if place not in coordinates or rounding not in roundings:
        call.builder.refuse(f"coordinates {place!r} with rounding {rounding!r} have no rule")
    return _within([roundings[rounding](coordinates[place](i)) for i in range(size)], n)


def _within(index: Sequence[int], n: int) -> list[int]:
    return [min(max(number, 0), n - 1) for number in index]
