"""Lines below and above the nonlinear kinds of node: functions of one variable for given slopes, and maxima.

For slope s the highest line below f on [l, u] is s z + min over [l, u] of (f(z) - s z). The minimum
lies at l, at u, or at a critical point: a kink of a piecewise linear f, or a point where f' = s.
Nothing is assumed about the slopes.
"""

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
from flint import arb

from epsball_replay.affine import pooled
from epsball_replay.arithmetic import upper
from epsball_replay.network import Array, Node, require
from epsball_replay.step import Step, matrix

Parameters = dict[str, Array]
Slopes = tuple[Array | None, Array | None]

_ALL = slice(None)
# Two or three roundings of a piecewise linear f and of s z, in float64, and their difference.
_ROUNDINGS = 8 * 2.0**-53
_STRETCH = {"tanh": 1, "sigmoid": 2}
"""The smooth functions, as the c of (c - 1 + tanh(z / c)) / c."""


def curve(node: Node, parameters: Parameters, low: Array, high: Array, slopes: Slopes, ulps: dict[str, Any]) -> Step:
    """Return the lines of a function of one variable for slopes below and above, None being the chord's."""
    below, above = (np.atleast_2d(chord(node, parameters, low, high) if side is None else side) for side in slopes)
    least = intercepts(node, below, low, high, parameters, 1)
    most = intercepts(node, above, low, high, parameters, -1)
    function = node.attributes.get("function")
    # Sigmoid and tanh are assumed right within these units; the others round an argument and a product.
    deployed = 0 if function in ("relu", "abs") else 2.0 * ulps[function] if function in _STRETCH else 3.0
    # The deployed constants are numbers of float32.
    constants = np.abs([*node.attributes.get("arguments", []), *np.ravel(_leak(node, parameters))])
    largest = float(constants[np.isfinite(constants)].max(initial=0))
    size = np.maximum(np.abs(least), np.abs(most))
    return Step([(node.inputs[0], below, above)], least, most, size, deployed, factor=1 + largest, inner=largest)


def maximum(node: Node, shape: tuple[int, ...], low: Array, high: Array) -> Step:
    """Return x_i <= max_k x_k <= s x_j + t, over windows of a value of the shape, in [low, high]."""
    taps = pooled(node, np.arange(low.size).reshape(shape))
    require((taps >= 0).any(axis=1).all(), f"{node.name} has windows of padding alone, whose maximum is -infinity.")
    i, j, s, t = peak(*(np.append(side, -np.inf)[taps] for side in (low, high)))
    below = matrix(np.take_along_axis(taps, i[:, None], axis=1), 1.0, low.size)
    above = matrix(np.take_along_axis(taps, j[:, None], axis=1), s[:, None], low.size)
    return Step([(node.inputs[0], below, above)], np.zeros(len(t)), t, np.abs(t))


def peak(low: Array, high: Array) -> tuple[Array, Array, Array, Array]:
    """Return i, j, s and t with x_i <= max_k x_k <= s x_j + t, for windows (n, k) of entries in [low, high].

    i has the greatest lower bound, j the greatest upper bound u; with c the second greatest the maximum is at most
    max(x_j, c), which is convex: a line that lies above it at both ends of [l, u] lies above it between. The doubt
    has room for s u + t in float64, too.
    """
    below, above = low.argmax(axis=1), high.argmax(axis=1)
    others = np.where(np.arange(high.shape[1]) == above[:, None], -np.inf, high)
    least, most = low[np.arange(len(low)), above], high.max(axis=1)
    start = np.maximum(least, others.max(axis=1))
    sure = start <= least
    slope = np.where(sure, 1.0, (most - start) / np.where(sure, 1.0, most - least))
    doubt = _ROUNDINGS * (np.abs(start) + np.abs(most) + slope * (np.abs(least) + np.abs(most))) + 1e-300
    line = np.maximum(start - slope * least, most - slope * most) + doubt
    return below, above, slope, np.where(sure, 0.0, line)


def intercepts(
    node: Node, slope: Array, low: Array, high: Array, parameters: Parameters, sign: int, entries: Any = _ALL
) -> Array:
    """Return t with slope z + t <= f(z) (sign 1; >= for sign -1) for all z in [low, high], at some entries."""
    stretch = _STRETCH.get(node.attributes.get("function", ""))
    if stretch:
        return -sign * upper(-sign * _extreme(slope, low, high, stretch, sign))
    function, kinks = _pieces(node, parameters, entries)
    best = np.full(np.broadcast_shapes(slope.shape, low.shape), np.inf)
    for point in (low, high, *kinks):
        z = np.clip(point, low, high)
        gap = sign * (function(z) - slope * z)
        best = np.minimum(best, gap - _ROUNDINGS * (np.abs(function(z)) + np.abs(slope * z)) - 1e-300)
    return sign * best


def bends(node: Node, parameters: Parameters, low: Array, high: Array) -> Array:
    """Return where a node that takes values in [low, high] is not one line there."""
    function = node.attributes.get("function")
    if function in _STRETCH:
        return low < high
    if node.kind not in ("Elementwise", "PReLU") or function == "negative":
        return np.full(low.shape, node.kind in ("MaxPool", "Max"))
    return np.any([(low < kink) & (kink < high) for kink in _pieces(node, parameters)[1]], axis=0)


def chord(node: Node, parameters: Parameters, low: Array, high: Array, entries: Any = _ALL) -> Array:
    """Return the slope of the line through both ends of a function's graph on [low, high], nearly."""
    first, last = (intercepts(node, np.zeros(low.shape), z, z, parameters, 1, entries) for z in (low, high))
    return np.divide(last - first, high - low, out=np.zeros(low.shape), where=high > low)


def _pieces(node: Node, parameters: Parameters, entries: Any = _ALL) -> tuple[Callable[[Array], Array], list[float]]:
    """Return a piecewise linear function and its kinks: a clamp, or z above 0 and a z below."""
    if node.attributes.get("function") == "clamp":
        ends = node.attributes["arguments"]
        return lambda z: np.clip(z, *ends), [kink for kink in ends if np.isfinite(kink)]
    a = _leak(node, parameters)
    a = a if a.size == 1 else a[entries]
    return lambda z: np.where(z > 0, z, a * z), [0.0]


def _leak(node: Node, parameters: Parameters) -> Array:
    """Return the a of a function that is z above 0 and a z below, by entry where it differs."""
    if node.kind == "PReLU":
        a = parameters[node.attributes["slope"]].astype(np.float64)
        require(a.shape in ((1,), node.shape[:1]), f"{node.name}: slopes of shape {a.shape} for {node.shape}.")
        return np.broadcast_to(a.reshape(-1, *(1,) * (len(node.shape) - 1)), node.shape).ravel()
    fixed = {"relu": 0.0, "abs": -1.0, **dict.fromkeys(("clamp", *_STRETCH), 0.0)}
    function = node.attributes["function"]
    return np.full(1, fixed[function] if function in fixed else node.attributes["arguments"][0])


def _extreme(slope: Array, low: Array, high: Array, stretch: int, sign: int) -> Array:
    """Return in balls the least (sign 1) or greatest of f(z) - slope z over [low, high]; more points only loosen it.

    With w = z / c it is (c - 1) / c + (tanh(w) - c^2 slope w) / c.
    """

    def one(slope: float, low: float, high: float) -> arb:
        s, points = arb(slope) * stretch**2, [arb(low) / stretch, arb(high) / stretch]
        square = 1 - s
        if slope > 0 and not square < 0:
            # tanh' = 1 - tanh^2 is s at +-w.
            w = square.nonnegative_part().sqrt().atanh()
            if not w.is_finite():
                return points[sign < 0].tanh() - s * points[sign > 0]
            points += [point for point in (w, -w) if not (point < points[0] or point > points[1])]
        return reduce(arb.min if sign > 0 else arb.max, [w.tanh() - s * w for w in points])

    vectorised: Any = np.frompyfunc(one, 3, 1)
    return (stretch - 1 + vectorised(slope, low, high)) / stretch
