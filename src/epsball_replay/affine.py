"""The affine kinds of node: y = sum of M z over the inputs z, plus a constant, with M a sparse matrix.

Values are flattened. Every M is built from `taps`: for each entry of y the entries of z it takes,
(..., k), -1 for none, and a coefficient for each. The shape that a node must have follows from them.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from epsball_replay.kinds import PADDING
from epsball_replay.network import Array, Network, Node, require
from epsball_replay.step import LARGEST, SMALLEST, Step, matrix

_LARGEST_WINDOW = 2**27


def affine(node: Node, network: Network, ranges: dict[str, tuple[Array, Array]], *, float32: bool) -> Step | None:
    """Return the node as an affine one, or None for nonlinear kinds; `ranges` are bounds of values so far."""
    numbers = [np.arange(network.nodes[z].size).reshape(network.nodes[z].shape) for z in node.inputs]
    kind = node.attributes["function"] if node.kind == "Elementwise" else node.kind
    if kind in _MOVES:
        (z,) = numbers
        taps = _MOVES[kind](z, node, node.attributes)
        _has_shape(node, taps.shape)
        border = np.where(taps < 0, _border(node, float32=float32), 0.0)
        return _step(node, [matrix(taps[..., None], 1.0, z.size)], border, extra=None)
    if kind in ("Multiply", "Divide"):
        return _scaled(node, numbers, ranges, float32=float32)
    if kind in ("BatchNorm", *_MEANS):
        (z,), (size,) = numbers, [np.maximum(*map(np.abs, ranges[name])) for name in node.inputs]
        return _mean(node, z, size) if kind in _MEANS else _batch_norm(node, network, z, size, float32=float32)
    return _BUILD[kind](node, network, *numbers) if kind in _BUILD else None


def _has_shape(node: Node, shape: tuple[int, ...]) -> None:
    require(shape == node.shape, f"node {node.name}, a {node.kind}, has the shape {shape}, not {node.shape}.")


def _step(node: Node, maps: list[csr_array], constant: Any = 0.0, *, size: Any = 0.0, extra: int | None = 1) -> Step:
    """Return a step.

    Beside the roundings of its sums it has `extra` ones: of a bias, or of computed coefficients; None only moves.
    """
    constant = np.broadcast_to(constant, node.shape).ravel()
    size = np.maximum(np.abs(constant), np.broadcast_to(size, node.shape).ravel())
    terms = sum(int(np.diff(part.indptr).max(initial=0)) for part in maps)
    inputs = [(name, part, part) for name, part in zip(node.inputs, maps, strict=True)]
    factor = max((max(part.data.max(initial=0), -part.data.min(initial=0)) for part in maps), default=0.0)
    rounded = {} if extra is None else {"deployed": terms + extra, "extra": extra, "exact": False}
    return Step(inputs, constant, constant, size, factor=float(factor), **rounded)


def _spread(node: Node, z: Array, factor: Any) -> csr_array:
    """Return a factor times a value, broadcast to the node's shape."""
    return matrix(np.broadcast_to(z, node.shape)[..., None], np.broadcast_to(factor, node.shape)[..., None], z.size)


def _signed(node: Node, *signed: tuple[Array, float], extra: int | None) -> Step:
    _has_broadcast_shape(node, [z for z, _ in signed])
    return _step(node, [_spread(node, z, sign) for z, sign in signed], extra=extra)


def _has_broadcast_shape(node: Node, numbers: list[Array]) -> None:
    require(all(z.ndim == len(node.shape) for z in numbers), f"node {node.name} has inputs of several ranks.")
    _has_shape(node, np.broadcast_shapes(*(z.shape for z in numbers)))


def _concatenated(node: Node, _: Network, *numbers: Array) -> Step:
    source = np.concatenate([np.full(z.shape, at) for at, z in enumerate(numbers)], axis=node.attributes["axis"])
    taps = np.concatenate(numbers, axis=node.attributes["axis"])
    _has_shape(node, taps.shape)
    parts = [matrix(np.where(source == at, taps, -1)[..., None], 1.0, z.size) for at, z in enumerate(numbers)]
    return _step(node, parts, extra=None)


def _scaled(node: Node, numbers: list[Array], ranges: dict[str, tuple[Array, Array]], *, float32: bool) -> Step:
    """Return a product or a quotient with a value that is constant; to it belongs a matrix of zeros."""
    _has_broadcast_shape(node, numbers)
    fixed = [bool((ranges[name][0] == ranges[name][1]).all()) for name in node.inputs]
    at = 1 if fixed[1] else 0
    known = fixed[at] and (at == 1 or node.kind == "Multiply")
    require(known, f"node {node.name}, a {node.kind} of {' and '.join(node.inputs)}, is not replayed: it varies.")
    factor = ranges[node.inputs[at]][0].reshape(numbers[at].shape)
    # A divisor that may be flushed to zero is one.
    least = 0 if node.kind == "Multiply" else SMALLEST if float32 else 1e-300
    require((np.abs(factor) >= least).all(), f"{node.name}: division by zero.")
    maps = [csr_array((node.size, z.size)) for z in numbers]
    maps[1 - at] = _spread(node, numbers[1 - at], factor if node.kind == "Multiply" else 1 / factor)
    return _step(node, maps)


def _expanded(z: Array, node: Node, options: dict[str, Any]) -> Array:
    require(z.ndim == len(options["shape"]), f"{node.name} expands to another rank.")
    return np.broadcast_to(z, options["shape"])


def _padded(z: Array, node: Node, options: dict[str, Any]) -> Array:
    widths: Any = np.array(options["widths"]).reshape(-1, 2)[::-1].tolist()
    widths = [(0, 0)] * (z.ndim - len(widths)) + widths
    _has_shape(node, tuple(n + sum(both) for n, both in zip(z.shape, widths, strict=True)))
    # Beyond these widths PyTorch has no such padding.
    room = {"reflect": 1, "circular": 0}.get(options["mode"], -math.inf)
    fits = all(max(both) <= n - room for n, both in zip(z.shape, widths, strict=True) if any(both))
    require(fits, f"{node.name} pads {z.shape} by {widths} in the mode {options['mode']!r}.")
    border: Any = {"constant_values": -1} if options["mode"] == "constant" else {"mode": PADDING[options["mode"]]}
    return np.pad(z, widths, **border)


def _border(node: Node, *, float32: bool) -> float:
    """Return what a border is filled with; the deployed one is a number of float32."""
    value = float((np.float32 if float32 else float)(node.attributes.get("value", 0.0)))
    require(math.isfinite(value), f"{node.name} pads with what float32 does not hold.")
    return value


def pooled(node: Node, z: Array) -> Array:
    """Return the taps of a pooling node, channel by channel, or of a reduction over axes, (entries, k)."""
    options = node.attributes
    if "axes" in options:
        axes = options["axes"]
        require(axes and max(axes) < z.ndim, f"{node.name} is over axes {axes} of {z.shape}.")
        _has_shape(node, tuple(1 if axis in axes else n for axis, n in enumerate(z.shape)))
        return np.moveaxis(z, axes, range(-len(axes), 0)).reshape(node.size, -1)
    if node.kind == "AdaptiveAveragePool":
        kernel = [n // m for n, m in zip(z.shape[1:], options["size"], strict=True)]
        even = [m * k for m, k in zip(options["size"], kernel, strict=True)] == list(z.shape[1:])
        require(even, f"{node.name}: adaptive pooling into windows of different size is not replayed.")
        options = {"kernel": kernel, "stride": kernel, "padding": [0] * len(kernel), "ceil_mode": False}
    options = {"dilation": [1] * (z.ndim - 1), **options}
    places = _places(z.shape[1:], options)
    _has_shape(node, (z.shape[0], *places))
    return _windows(z, places, options).reshape(node.size, -1)


def _places(wide: tuple[int, ...], options: dict[str, Any]) -> tuple[int, ...]:
    """Return at how many places a kernel lies along each axis; with `ceil_mode` also where it sticks out."""

    def along(n: int, k: int, s: int, p: int, d: int) -> int:
        room = n + 2 * p - d * (k - 1) - 1
        count = (-(-room // s) if options["ceil_mode"] else room // s) + 1
        # A window begins in the input or before it.
        return count - bool(options["ceil_mode"] and (count - 1) * s >= n + p)

    require(1 <= len(wide) <= 3, f"windows lie along 1 to 3 axes, not {len(wide)}.")
    keys = ("kernel", "stride", "padding", "dilation")
    return tuple(along(*one) for one in zip(wide, *(options[key] for key in keys), strict=True))


def _windows(z: Array, places: tuple[int, ...], options: dict[str, Any]) -> Array:
    """Return the taps of a kernel at every place, (channels, *places, *kernel); -1 is padding."""
    axes = zip(places, *(options[key] for key in ("kernel", "stride", "padding", "dilation")), strict=True)
    for axis, (n, k, s, p, d) in enumerate(axes, start=1):
        z = np.moveaxis(z, axis, -1)
        wide = z.shape[-1]
        require(n * k <= _LARGEST_WINDOW, f"windows of {k} at {n} places are larger than this checker reads.")
        at = np.arange(n)[:, None] * s - p + np.arange(k) * d
        z = np.append(z, np.full((*z.shape[:-1], 1), -1), axis=-1)[..., np.where((at < 0) | (at >= wide), wide, at)]
        z = np.moveaxis(z, -2, axis)
    return z


def _mean(node: Node, z: Array, size: Array) -> Step:
    taps, options = pooled(node, z), node.attributes
    padded, divisor = options.get("count_include_pad", False), options.get("divisor")
    require(divisor or not (padded and options["ceil_mode"]), f"{node.name}: ceil_mode that counts padding.")
    require(divisor is None or z.ndim > 2, f"{node.name}: a divisor of windows along one axis.")
    count = divisor or (taps.shape[1] if padded else (taps >= 0).sum(axis=1, keepdims=True))
    # The kernel may divide what it has summed.
    return replace(_step(node, [matrix(taps, 1 / count, z.size)], extra=2), inner=matrix(taps, 1.0, z.size) @ size)


def _linear(node: Node, network: Network, z: Array) -> Step:
    _has_shape(node, (*z.shape[:-1], node.shape[-1]))
    weight = network.parameter(node.attributes["weight"], (node.shape[-1], z.shape[-1]))
    taps = np.broadcast_to(z[..., None, :], (*z.shape[:-1], *weight.shape))
    return _step(node, [matrix(taps, weight, z.size)], network.parameter(node.attributes["bias"], node.shape[-1:]))


def _convolution(node: Node, network: Network, z: Array) -> Step:
    """Return a convolution; a transposed one is the transpose of the matrix of the plain one."""
    options, groups = node.attributes, node.attributes["groups"]
    wide, narrow = (node.shape, z.shape) if options["transposed"] else (z.shape, node.shape)
    require(wide[0] % groups == 0 == narrow[0] % groups, f"{node.name}: its channels are not {groups} groups.")
    kernel = network.parameters[options["weight"]].shape[2:]
    weight = network.parameter(options["weight"], (narrow[0], wide[0] // groups, *kernel))
    options = {**options, "kernel": kernel, "ceil_mode": False}
    if options["transposed"]:
        _has_shape(node, (wide[0], *_widened(narrow[1:], options)))
    else:
        require(not any(options["output_padding"]), f"{node.name}: output padding without a transpose.")
        _has_shape(node, (narrow[0], *_places(wide[1:], options)))
    taps = _windows(np.arange(math.prod(wide)).reshape(wide), narrow[1:], options)
    # (groups, places, channels of the group x kernel), the same for each kernel of the group.
    taps = taps.reshape(groups, wide[0] // groups, math.prod(narrow[1:]), -1).swapaxes(1, 2)
    values = weight.reshape(groups, narrow[0] // groups, 1, -1)
    taps = taps.reshape(groups, 1, taps.shape[1], -1)
    part = matrix(np.broadcast_to(taps, (*values.shape[:2], *taps.shape[2:])), values, math.prod(wide))
    bias = _columns(network.parameter(options["bias"], node.shape[:1]), node)
    return _step(node, [csr_array(part.T) if options["transposed"] else part], bias)


def _widened(narrow: tuple[int, ...], options: dict[str, Any]) -> tuple[int, ...]:
    """Return the lengths that a transposed convolution gives."""
    keys = ("kernel", "stride", "padding", "dilation", "output_padding")
    axes = zip(narrow, *(options[key] for key in keys), strict=True)
    return tuple((n - 1) * s - 2 * p + d * (k - 1) + more + 1 for n, k, s, p, d, more in axes)


def _batch_norm(node: Node, network: Network, z: Array, size: Array, *, float32: bool) -> Step:
    """Return alpha z + (bias - mean alpha), alpha = weight / sqrt(variance + eps), however it is computed."""
    _has_shape(node, z.shape)
    names, shape = node.attributes, z.shape[:1]
    mean, variance, bias = (network.parameter(names[key], shape) for key in ("mean", "variance", "bias"))
    weight, wide = network.parameter(names["weight"], shape, 1.0), variance + names["eps"]
    # There a summand that is flushed to zero is less than a rounding, and nothing overflows.
    least, most = (2.0**-100, LARGEST) if float32 else (1e-300, np.inf)
    known = (variance >= 0).all() and (wide >= least).all() and (wide <= most).all()
    require(known, f"{node.name}: a variance of {wide.min()} or {wide.max()} is not replayed.")
    alpha = weight / np.sqrt(wide)
    constant, more = bias - mean * alpha, np.abs(bias) + 2 * np.abs(mean * alpha)
    # Eps, variance, root, quotient, gain, product, difference, sum: with room, 12 roundings a term.
    maps = [_spread(node, z, _columns(alpha, node))]
    step = _step(node, maps, _columns(constant, node), size=_columns(more, node), extra=11)
    # The kernel may divide the difference from the mean before it multiplies by the weight: nothing it meets is larger.
    root, gain, off = (_columns(one, node) for one in (1 / np.sqrt(wide), np.abs(weight), np.abs(mean)))
    inner = (1 + size.reshape(z.shape) + off) * (1 + root) * (1 + gain)
    return replace(step, inner=inner.ravel(), factor=float(inner.max()))


def _columns(channels: Array, node: Node) -> Array:
    return channels.reshape(-1, *(1,) * (len(node.shape) - 1))


_MOVES: dict[str, Callable[[Array, Node, dict[str, Any]], Array]] = {"Expand": _expanded, "Pad": _padded}
_MOVES["Slice"] = lambda z, _, o: z[(slice(None),) * o["axis"] + (slice(o["start"], o["end"], o["step"]),)]
_MOVES["Reshape"] = lambda z, _, options: z.reshape(options["shape"])
_MOVES["Permute"] = lambda z, _, options: z.transpose(options["axes"])
_MOVES["Gather"] = lambda z, _, options: z.take(options["index"], axis=options["axis"])
_MEANS = ("Mean", "AveragePool", "AdaptiveAveragePool")
_BUILD: dict[str, Callable[..., Step]] = {"Concatenate": _concatenated, "Linear": _linear, "Convolution": _convolution}
_BUILD["Constant"] = lambda n, net: _step(n, [], net.parameter(n.attributes["parameter"], n.shape), extra=None)
_BUILD["Sum"] = lambda node, _, z: _step(node, [matrix(pooled(node, z), 1.0, z.size)], extra=2)
_BUILD["negative"] = lambda node, _, z: _signed(node, (z, -1.0), extra=None)
_BUILD["Add"] = lambda node, _, a, b: _signed(node, (a, 1.0), (b, 1.0), extra=0)
_BUILD["Subtract"] = lambda node, _, a, b: _signed(node, (a, 1.0), (b, -1.0), extra=0)
