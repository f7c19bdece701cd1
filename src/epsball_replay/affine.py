"""The affine kinds of node: y = sum of M z over the inputs z, plus a constant, with M a sparse matrix.

Values are flattened. Every kind but the constants is built from `taps`: for each entry of y the
entries of z it takes, (size, k), -1 for none.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

import numpy as np
from scipy.sparse import csr_array

from epsball_replay.arithmetic import gamma
from epsball_replay.files import Array, Node, ReplayError

_PADDING: dict[str, Any] = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
_POOLS = ("Sum", "Mean", "AveragePool", "AdaptiveAveragePool")
_MOVES = ("Reshape", "Permute", "Expand", "Slice", "Gather", "Pad")


class Interval(Protocol):
    """Bounds of a value."""

    @property
    def low(self) -> Array: ...  # noqa: D102
    @property
    def high(self) -> Array: ...  # noqa: D102


@dataclass
class Affine:
    """An affine node.

    ``terms`` bounds the operations behind one entry as deployed, 0 where entries are only moved;
    ``coefficients`` the roundings of M and of the constant in float64, relative to ``magnitude``,
    the sum of the absolute values of an entry's terms (here the constants'; the derivation adds |M| |z|).
    """

    inputs: list[tuple[str, Any]]
    constant: Array
    terms: int
    magnitude: Array
    coefficients: int = 0

    @property
    def moves(self) -> bool:
        """Whether entries are only moved, or there are none: no number is rounded."""
        return self.terms == 0

    def deployed_error(self, most: float) -> Array:
        """Return gamma32(n + 1) (|W| |z| + |b|) + underflow, for any order of summation.

        An operation that underflows is off by at most 2**-126, one whose factor is flushed to zero
        by that times the other factor; `most` bounds the inputs. Sums that may overflow are not bounded.
        """
        if self.moves:
            return np.zeros(self.constant.shape)
        largest = max((float(abs(matrix).max()) for _, matrix in self.inputs if matrix.nnz), default=0.0)
        underflow = (self.terms + 1) * 2.0**-126 * (2 + largest + most)
        error = gamma(self.terms + 1, 2.0**-24) * self.magnitude * (1 + 1e-9) + underflow
        return np.where(self.magnitude <= 2.0**127, error, np.inf)


def affine(node: Node, parameters: Mapping[str, Array], ranges: Mapping[str, Interval]) -> Affine | None:
    """Return the node as an affine one, or None for nonlinear kinds."""
    shapes = {name: ranges[name].low.shape for name in node.inputs}
    if node.kind == "Constant":
        value = parameters[node.attributes["parameter"]].astype(np.float64).reshape(node.shape)
        return Affine([], value, 0, np.abs(value))
    if node.kind == "Concatenate":
        return _concatenated(node, shapes)
    if node.kind in ("Add", "Subtract"):
        signs = (1.0, 1.0 if node.kind == "Add" else -1.0)
        maps = [(name, _spread(shapes[name], node, s)) for name, s in zip(node.inputs, signs, strict=True)]
        return _plain(node, maps, 1)
    if node.kind in ("Multiply", "Divide"):
        return _scaled(node, ranges)
    if len(node.inputs) != 1:
        return None
    (name,) = node.inputs
    if node.kind in _MOVES:
        taps = _moved(node, shapes[name])
        constant = np.where(taps < 0, float(node.attributes.get("value", 0.0)), 0.0)
        return Affine([(name, _matrix(taps.reshape(-1, 1), 1.0, shapes[name]))], constant, 0, np.abs(constant))
    if node.kind in _POOLS:
        taps = pooled(node, shapes[name])
        return _plain(node, [(name, _matrix(taps, 1 / _divisors(node, taps), shapes[name]))], taps.shape[1] + 1, 1)
    build = {"Linear": _linear, "Convolution": _convolution, "BatchNorm": _batch_norm}.get(node.kind)
    return None if build is None else build(node, parameters, shapes[name])


def _matrix(taps: Array, values: Any, shape: tuple[int, ...]) -> csr_array:
    """Return M with M[o, taps[o, k]] += values[o, k]."""
    values = np.broadcast_to(np.asarray(values, dtype=np.float64), taps.shape)
    rows = np.broadcast_to(np.arange(len(taps))[:, None], taps.shape)
    real = taps >= 0
    return csr_array((values[real], (rows[real], taps[real])), shape=(len(taps), math.prod(shape)))


def _plain(node: Node, maps: list[tuple[str, csr_array]], terms: int, coefficients: int = 0) -> Affine:
    return Affine(maps, np.zeros(node.shape), terms, np.zeros(node.shape), coefficients)


def _spread(shape: tuple[int, ...], node: Node, factor: Any) -> csr_array:
    """Return a factor times a value of the shape, broadcast to the node's."""
    taps = np.broadcast_to(np.arange(math.prod(shape)).reshape(shape), node.shape)
    return _matrix(taps.reshape(-1, 1), np.broadcast_to(factor, node.shape).reshape(-1, 1), shape)


def _concatenated(node: Node, shapes: Mapping[str, tuple[int, ...]]) -> Affine:
    axis, begin, maps = node.attributes["axis"], 0, []
    for name in node.inputs:
        taps = np.full(node.shape, -1)
        where = (slice(None),) * axis + (slice(begin, begin + shapes[name][axis]),)
        taps[where] = np.arange(math.prod(shapes[name])).reshape(shapes[name])
        maps.append((name, _matrix(taps.reshape(-1, 1), 1.0, shapes[name])))
        begin += shapes[name][axis]
    return _plain(node, maps, 0)


def _scaled(node: Node, ranges: Mapping[str, Interval]) -> Affine | None:
    fixed = [bool((ranges[name].low == ranges[name].high).all()) for name in node.inputs]
    if not any(fixed) or (node.kind == "Divide" and not fixed[1]):
        return None
    varying, other = node.inputs if fixed[1] else node.inputs[::-1]
    factor = ranges[other].low
    if node.kind == "Divide":
        if not factor.all():
            raise ReplayError(f"{node.name}: division by zero.")
        factor = 1 / factor
    return _plain(node, [(varying, _spread(ranges[varying].low.shape, node, factor))], 1, 1)


def _moved(node: Node, shape: tuple[int, ...]) -> Array:
    """Return for each entry of the node the entry of its input, -1 for a constant border."""
    numbers, options = np.arange(math.prod(shape)).reshape(shape), node.attributes

    def padded() -> Array:
        pairs = list(zip(options["widths"][::2], options["widths"][1::2], strict=True))[::-1]
        extra: dict[str, Any] = {"constant_values": -1} if options["mode"] == "constant" else {}
        return np.pad(numbers, [(0, 0)] * (len(shape) - len(pairs)) + pairs, mode=_PADDING[options["mode"]], **extra)

    def sliced() -> Array:
        return numbers[(slice(None),) * options["axis"] + (slice(options["start"], options["end"], options["step"]),)]

    moved: dict[str, Callable[[], Array]] = {
        "Reshape": lambda: numbers.reshape(node.shape),
        "Permute": lambda: numbers.transpose(options["axes"]),
        "Expand": lambda: np.broadcast_to(numbers, node.shape),
        "Gather": lambda: numbers.take(options["index"], axis=options["axis"]),
        "Slice": sliced,
        "Pad": padded,
    }
    return moved[node.kind]()


def pooled(node: Node, shape: tuple[int, ...]) -> Array:
    """Return the taps of a pooling node, channel by channel, or of a reduction over axes."""
    numbers, options = np.arange(math.prod(shape)).reshape(shape), node.attributes
    if "axes" in options:
        last = range(-len(options["axes"]), 0)
        return np.moveaxis(numbers, options["axes"], last).reshape(math.prod(node.shape), -1)
    if node.kind == "AdaptiveAveragePool":
        if any(n % m for n, m in zip(shape[1:], node.shape[1:], strict=True)):
            raise ReplayError(f"{node.name}: adaptive pooling into windows of different size is not replayed.")
        kernel = [n // m for n, m in zip(shape[1:], node.shape[1:], strict=True)]
        return _windows(numbers, kernel, kernel, [0] * len(kernel), [1] * len(kernel), node.shape[1:])
    dilation = options.get("dilation", [1] * len(options["kernel"]))
    return _windows(numbers, options["kernel"], options["stride"], options["padding"], dilation, node.shape[1:])


def _windows(numbers: Array, kernel: Any, stride: Any, padding: Any, dilation: Any, narrow: tuple[int, ...]) -> Array:
    """Return the taps of a kernel at every place, (channels * places, k)."""
    axes = list(zip(numbers.shape[1:], narrow, kernel, stride, padding, dilation, strict=True))
    starts = product(*(range(0, k * d, d) for _, _, k, _, _, d in axes))
    room = np.full((len(numbers), *(max(w + 2 * p, (n - 1) * s + (k - 1) * d + 1) for w, n, k, s, p, d in axes)), -1)
    room[(slice(None), *(slice(p, p + w) for w, _, _, _, p, _ in axes))] = numbers
    columns = []
    for start in starts:
        spans = zip(start, axes, strict=True)
        columns.append(room[(slice(None), *(slice(b, b + (n - 1) * s + 1, s) for b, (_, n, _, s, _, _) in spans))])
    return np.stack(columns, axis=-1).reshape(-1, len(columns))


def _divisors(node: Node, taps: Array) -> Any:
    if node.kind == "Sum":
        return 1.0
    if node.kind == "AveragePool" and node.attributes["divisor"] is not None:
        return float(node.attributes["divisor"])
    if node.kind == "AveragePool" and node.attributes["count_include_pad"]:
        if node.attributes["ceil_mode"]:
            raise ReplayError(f"{node.name}: average pooling with ceil_mode that counts padding is not replayed.")
        return float(taps.shape[1])
    return (taps >= 0).sum(axis=1, keepdims=True).astype(np.float64)


def _bias(node: Node, parameters: Mapping[str, Array], column: tuple[int, ...]) -> Array:
    name = node.attributes["bias"]
    if name is None:
        return np.zeros(node.shape)
    return np.broadcast_to(parameters[name].astype(np.float64).reshape(column), node.shape)


def _linear(node: Node, parameters: Mapping[str, Array], shape: tuple[int, ...]) -> Affine:
    weight, bias = parameters[node.attributes["weight"]], _bias(node, parameters, (-1,))
    places = np.arange(math.prod(shape)).reshape(-1, 1, shape[-1])
    taps = np.broadcast_to(places, (len(places), *weight.shape)).reshape(-1, shape[-1])
    matrix = _matrix(taps, np.tile(weight, (len(places), 1)), shape)
    return Affine([(node.inputs[0], matrix)], bias, shape[-1], np.abs(bias))


def _convolution(node: Node, parameters: Mapping[str, Array], shape: tuple[int, ...]) -> Affine:
    """Return a convolution; a transposed one is the transpose of the matrix of the plain one."""
    options, weight = node.attributes, parameters[node.attributes["weight"]].astype(np.float64)
    wide, narrow = (node.shape, shape) if options["transposed"] else (shape, node.shape)
    groups, out = options["groups"], len(weight) // options["groups"]
    numbers = np.arange(math.prod(wide)).reshape(groups, -1, *wide[1:])
    stride, padding, dilation = (options[key] for key in ("stride", "padding", "dilation"))
    blocks = []
    for group, kernels in zip(numbers, weight.reshape(groups, out, -1), strict=True):
        taps = _windows(group, weight.shape[2:], stride, padding, dilation, narrow[1:])
        taps = taps.reshape(len(group), -1, taps.shape[1]).swapaxes(0, 1).reshape(math.prod(narrow[1:]), -1)
        blocks.append((np.tile(taps, (out, 1)), np.repeat(kernels, len(taps), axis=0)))
    taps, values = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    matrix = _matrix(taps, values, wide)
    if options["transposed"]:
        matrix = csr_array(matrix.T)
    terms = int(np.diff(matrix.indptr).max())
    bias = _bias(node, parameters, (-1, *(1,) * (len(shape) - 1)))
    return Affine([(node.inputs[0], matrix)], bias, terms, np.abs(bias))


def _batch_norm(node: Node, parameters: Mapping[str, Array], shape: tuple[int, ...]) -> Affine:
    """Return alpha z + (bias - mean alpha), alpha = weight / sqrt(variance + eps), however it is computed."""
    column = (-1, *(1,) * (len(shape) - 1))

    def parameter(key: str, default: float) -> Array:
        name = node.attributes[key]
        return np.full(column, default) if name is None else parameters[name].astype(np.float64).reshape(column)

    mean, variance = parameter("mean", 0.0), parameter("variance", 1.0) + node.attributes["eps"]
    if not (variance > 0).all():
        raise ReplayError(f"{node.name}: a variance of batch normalisation is not positive.")
    alpha, bias = parameter("weight", 1.0) / np.sqrt(variance), parameter("bias", 0.0)
    constant = np.broadcast_to(bias - mean * alpha, shape)
    magnitude = np.broadcast_to(np.abs(bias) + 2 * np.abs(mean * alpha), shape)
    # Variance, root, quotient, gain, product, difference, sum: at most 8 roundings a term, here as deployed.
    return Affine([(node.inputs[0], _spread(shape, node, alpha))], constant, 8, magnitude, 8)
