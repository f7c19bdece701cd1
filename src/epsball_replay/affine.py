"""The affine kinds of node: y = sum of M z over the inputs z, plus a constant, with M a sparse matrix.

Values are flattened. Every M is built from `taps`: for each entry of y the entries of z it takes,
(..., k), -1 for none, and a coefficient for each.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from epsball_replay.network import Array, Network, Node, require
from epsball_replay.step import Step, matrix

_MODES: dict[str, Any] = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def affine(node: Node, network: Network, ranges: dict[str, tuple[Array, Array]]) -> Step | None:
    """Return the node as an affine one, or None for nonlinear kinds."""
    numbers = [np.arange(network.nodes[z].size).reshape(network.nodes[z].shape) for z in node.inputs]
    kind = node.attributes["function"] if node.kind == "Elementwise" else node.kind
    if kind in _MOVES:
        (z,) = numbers
        taps = _MOVES[kind](z, node, node.attributes)[..., None]
        require(taps.shape[:-1] == node.shape, f"{node.name}: {taps.shape[:-1]} is not the shape {node.shape}.")
        border = np.where(taps < 0, float(node.attributes.get("value", 0.0)), 0.0)
        return _step(node, [matrix(taps, 1.0, z.size)], border[..., 0], extra=None)
    if kind in ("Multiply", "Divide"):
        return _scaled(node, numbers, ranges)
    return _BUILD[kind](node, network, *numbers) if kind in _BUILD else None


def _step(node: Node, maps: list[csr_array], constant: Any = 0.0, *, size: Any = 0.0, extra: int | None = 1) -> Step:
    """Return a step.

    Beside the roundings of its sums it has `extra` ones: of a bias, or of computed coefficients; None only moves.
    """
    constant = np.broadcast_to(constant, node.shape).ravel()
    size = np.maximum(np.abs(constant), np.broadcast_to(size, node.shape).ravel())
    terms = sum(int(np.diff(part.indptr).max(initial=0)) for part in maps)
    inputs = [(name, part, part) for name, part in zip(node.inputs, maps, strict=True)]
    return Step(inputs, constant, constant, size, 0 if extra is None else terms + extra, extra or 0, extra is None)


def _spread(node: Node, z: Array, factor: Any) -> csr_array:
    """Return a factor times a value, broadcast to the node's shape."""
    return matrix(np.broadcast_to(z, node.shape)[..., None], np.broadcast_to(factor, node.shape)[..., None], z.size)


def _concatenated(node: Node, _: Network, *numbers: Array) -> Step:
    def alone(z: Array) -> csr_array:
        parts = [other if other is z else np.full(other.shape, -1) for other in numbers]
        return matrix(np.concatenate(parts, axis=node.attributes["axis"])[..., None], 1.0, z.size)

    return _step(node, [alone(z) for z in numbers], extra=None)


def _scaled(node: Node, numbers: list[Array], ranges: dict[str, tuple[Array, Array]]) -> Step | None:
    """Return a product or a quotient with a value that is constant, if one is; to it belongs a matrix of zeros."""
    fixed = [bool((ranges[name][0] == ranges[name][1]).all()) for name in node.inputs]
    at = 1 if fixed[1] else 0
    if not fixed[at] or (node.kind == "Divide" and at == 0):
        return None
    factor = ranges[node.inputs[at]][0].reshape(numbers[at].shape)
    require(node.kind == "Multiply" or factor.all(), f"{node.name}: division by zero.")
    maps = [csr_array((node.size, z.size)) for z in numbers]
    maps[1 - at] = _spread(node, numbers[1 - at], factor if node.kind == "Multiply" else 1 / factor)
    return _step(node, maps)


def _constant(node: Node, network: Network) -> Array:
    return network.parameters[node.attributes["parameter"]].astype(np.float64).reshape(node.shape)


def _sliced(z: Array, _: Node, options: dict[str, Any]) -> Array:
    return z[(slice(None),) * options["axis"] + (slice(options["start"], options["end"], options["step"]),)]


def _padded(z: Array, _: Node, options: dict[str, Any]) -> Array:
    widths: Any = np.array(options["widths"]).reshape(-1, 2)[::-1].tolist()
    border: Any = {"constant_values": -1} if options["mode"] == "constant" else {}
    return np.pad(z, [(0, 0)] * (z.ndim - len(widths)) + widths, mode=_MODES[options["mode"]], **border)


def pooled(node: Node, z: Array) -> Array:
    """Return the taps of a pooling node, channel by channel, or of a reduction over axes, (entries, k)."""
    options = node.attributes
    if "axes" in options:
        length = math.prod(z.shape[axis] for axis in options["axes"])
        require(node.size * length == z.size, f"{node.name}: over axes {options['axes']} it is not {node.shape}.")
        return np.moveaxis(z, options["axes"], range(-len(options["axes"]), 0)).reshape(node.size, -1)
    if node.kind == "AdaptiveAveragePool":
        kernel = [n // m for n, m in zip(z.shape[1:], node.shape[1:], strict=True)]
        even = [m * k for m, k in zip(node.shape[1:], kernel, strict=True)] == list(z.shape[1:])
        require(even, f"{node.name}: adaptive pooling into windows of different size is not replayed.")
        options = {"kernel": kernel, "stride": kernel, "padding": [0] * len(kernel)}
    return _windows(z, node.shape[1:], {"dilation": [1] * (z.ndim - 1), **options}).reshape(node.size, -1)


def _windows(z: Array, places: tuple[int, ...], options: dict[str, Any]) -> Array:
    """Return the taps of a kernel at every place, (channels, *places, *kernel); -1 is padding."""
    axes = zip(places, *(options[key] for key in ("kernel", "stride", "padding", "dilation")), strict=True)
    for axis, (n, k, s, p, d) in enumerate(axes, start=1):
        z = np.moveaxis(z, axis, -1)
        wide = z.shape[-1]
        fits = -s < wide + 2 * p - (n - 1) * s - (k - 1) * d - 1 < max(s, d)
        require(fits, f"windows of {k} at {n} places do not fit along an axis of {wide}.")
        at = np.arange(n)[:, None] * s - p + np.arange(k) * d
        z = np.append(z, np.full((*z.shape[:-1], 1), -1), axis=-1)[..., np.where((at < 0) | (at >= wide), wide, at)]
        z = np.moveaxis(z, -2, axis)
    return z


def _averaged(node: Node, _: Network, z: Array) -> Step:
    taps, options = pooled(node, z), node.attributes
    padded = options.get("count_include_pad", False)
    count = options.get("divisor") or (taps.shape[1] if padded else (taps >= 0).sum(axis=1, keepdims=True))
    known = options.get("divisor") or not (padded and options["ceil_mode"])
    require(known, f"{node.name}: ceil_mode that counts padding is not replayed.")
    return _step(node, [matrix(taps, 1.0 if node.kind == "Sum" else 1 / count, z.size)], extra=2)


def _linear(node: Node, network: Network, z: Array) -> Step:
    weight = network.parameter(node.attributes["weight"], (node.shape[-1], z.shape[-1]))
    taps = np.broadcast_to(z[..., None, :], (*z.shape[:-1], *weight.shape))
    return _step(node, [matrix(taps, weight, z.size)], network.parameter(node.attributes["bias"], node.shape[-1:]))


def _convolution(node: Node, network: Network, z: Array) -> Step:
    """Return a convolution; a transposed one is the transpose of the matrix of the plain one."""
    options, groups = node.attributes, node.attributes["groups"]
    wide, narrow = (node.shape, z.shape) if options["transposed"] else (z.shape, node.shape)
    require(wide[0] % groups == 0, f"{node.name}: {wide[0]} channels are not {groups} groups.")
    kernel = network.parameters[options["weight"]].shape[2:]
    weight = network.parameter(options["weight"], (narrow[0], wide[0] // groups, *kernel))
    taps = _windows(np.arange(math.prod(wide)).reshape(wide), narrow[1:], {**options, "kernel": kernel})
    # (groups, places, channels of the group x kernel), the same for each kernel of the group.
    taps = taps.reshape(groups, wide[0] // groups, math.prod(narrow[1:]), -1).swapaxes(1, 2)
    values = weight.reshape(groups, narrow[0] // groups, 1, -1)
    taps = taps.reshape(groups, 1, taps.shape[1], -1)
    part = matrix(np.broadcast_to(taps, (*values.shape[:2], *taps.shape[2:])), values, math.prod(wide))
    bias = _columns(network.parameter(options["bias"], node.shape[:1]), node)
    return _step(node, [csr_array(part.T) if options["transposed"] else part], bias)


def _batch_norm(node: Node, network: Network, z: Array) -> Step:
    """Return alpha z + (bias - mean alpha), alpha = weight / sqrt(variance + eps), however it is computed."""
    names, shape = node.attributes, z.shape[:1]
    mean, variance, bias = (network.parameter(names[key], shape) for key in ("mean", "variance", "bias"))
    wide = variance + names["eps"]
    require((variance >= 0).all() and (wide > 0).all(), f"{node.name}: a variance is not positive.")
    alpha = network.parameter(names["weight"], shape, 1.0) / np.sqrt(wide)
    constant, size = bias - mean * alpha, np.abs(bias) + 2 * np.abs(mean * alpha)
    # Variance, root, quotient, gain, product, difference, sum: with room, 12 roundings a term.
    maps = [_spread(node, z, _columns(alpha, node))]
    return _step(node, maps, _columns(constant, node), size=_columns(size, node), extra=11)


def _columns(channels: Array, node: Node) -> Array:
    return channels.reshape(-1, *(1,) * (len(node.shape) - 1))


_MOVES: dict[str, Callable[[Array, Node, dict[str, Any]], Array]] = {
    "Reshape": lambda z, node, _: z.reshape(node.shape),
    "Permute": lambda z, _, options: z.transpose(options["axes"]),
    "Expand": lambda z, node, _: np.broadcast_to(z, node.shape),
    "Gather": lambda z, _, options: z.take(options["index"], axis=options["axis"]),
    "Slice": _sliced,
    "Pad": _padded,
}
_BUILD: dict[str, Callable[..., Step]] = {
    "Constant": lambda node, network: _step(node, [], _constant(node, network), extra=None),
    "negative": lambda node, _, z: _step(node, [_spread(node, z, -1.0)], extra=None),
    "Add": lambda node, _, a, b: _step(node, [_spread(node, a, 1.0), _spread(node, b, 1.0)], extra=0),
    "Subtract": lambda node, _, a, b: _step(node, [_spread(node, a, 1.0), _spread(node, b, -1.0)], extra=0),
    **dict.fromkeys(("Sum", "Mean", "AveragePool", "AdaptiveAveragePool"), _averaged),
    "Concatenate": _concatenated,
    "Linear": _linear,
    "Convolution": _convolution,
    "BatchNorm": _batch_norm,
}
