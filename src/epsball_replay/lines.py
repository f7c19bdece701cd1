"""Lines below and above a function of one variable on intervals, for given slopes.

For slope s the highest line below f on [l, u] is s z + min over [l, u] of (f(z) - s z). The minimum
lies at l, at u, or at a critical point: a kink of a piecewise linear f, or a point where f' = s.
Nothing is assumed about the slopes.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from flint import arb

from epsball_replay.arithmetic import gamma, lower, upper
from epsball_replay.files import Array, Node, ReplayError

# Two or three roundings of a piecewise linear f and of s z, in float64, and their difference.
_ROUNDINGS = 8 * 2.0**-53
_SMOOTH = ("sigmoid", "tanh")


def intercepts(node: Node, slope: Array, low: Array, high: Array, parameters: dict[str, Array], sign: int) -> Array:
    """Return t with slope z + t <= f(z) (sign 1; >= for sign -1) for all z in [low, high], entry by entry."""
    function, critical = _described(node, parameters, low.ndim)
    if function is None:
        return _smooth(node.attributes["function"], slope, low, high, sign)
    best = np.full(np.broadcast_shapes(slope.shape, low.shape), np.inf)
    for point in (low, high, *critical):
        z = np.clip(point, low, high)
        gap = sign * (function(z) - slope * z)
        doubt = _ROUNDINGS * (np.abs(function(z)) + np.abs(slope * z)) + 1e-300
        best = np.minimum(best, gap - doubt)
    return sign * best


def extremes(node: Node, low: Array, high: Array, parameters: dict[str, Array]) -> tuple[Array, Array]:
    """Return bounds of f over [low, high]."""
    flat = np.zeros(low.shape)
    return intercepts(node, flat, low, high, parameters, 1), intercepts(node, flat, low, high, parameters, -1)


def chord(node: Node, low: Array, high: Array, parameters: dict[str, Array]) -> Array:
    """Return the slope of the chord from low to high, for lines whose slopes the certificate does not give."""
    first, last = (extremes(node, z, z, parameters)[0] for z in (low, high))
    width = high - low
    return np.divide(last - first, width, out=np.zeros_like(low), where=width > 0)


def bends(consumer: Node, low: Array, high: Array) -> Array:
    """Return where a node that takes a value in [low, high] is not one line there."""
    if consumer.kind not in ("Elementwise", "PReLU"):
        return np.full(low.shape, consumer.kind in ("MaxPool", "Max"))
    function = "relu" if consumer.kind == "PReLU" else consumer.attributes["function"]
    if function in _SMOOTH:
        return low < high
    kinks = consumer.attributes["arguments"] if function == "clamp" else [0.0]
    return np.any([(low < kink) & (kink < high) for kink in kinks], axis=0)


def deployed_error(node: Node, magnitude: Array, assumptions: dict[str, Any]) -> Array:
    """Return a bound on the float32 rounding of f, from a bound on |f|.

    Piecewise linear kinds round at most an argument and a product; sigmoid and tanh are assumed
    right to the units in the last place that the certificate states.
    """
    function = "prelu" if node.kind == "PReLU" else node.attributes["function"]
    if function in ("relu", "abs", "negative"):
        return np.zeros(magnitude.shape)
    roundings = 2.0 * float(assumptions["ulps"][function]) if function in _SMOOTH else 3.0
    if not 1 <= roundings <= 1e6:
        raise ReplayError(f"the certificate assumes {roundings / 2} units in the last place for {function}.")
    return gamma(roundings, 2.0**-24) * magnitude + 2.0**-125


def _described(
    node: Node, parameters: dict[str, Array], dimensions: int
) -> tuple[Callable[[Array], Array] | None, list[Any]]:
    if node.kind == "PReLU":
        slope = parameters[node.attributes["slope"]].astype(np.float64)
        slope = slope.reshape(-1, *(1,) * (dimensions - 1)) if slope.size > 1 else slope.reshape(())
        return (lambda z: np.where(z > 0, z, slope * z)), [0.0]
    name, arguments = node.attributes["function"], node.attributes["arguments"]
    if name == "relu":
        return (lambda z: np.maximum(z, 0)), [0.0]
    if name == "leaky_relu":
        return (lambda z: np.where(z > 0, z, arguments[0] * z)), [0.0]
    if name == "abs":
        return np.abs, [0.0]
    if name == "negative":
        return np.negative, []
    if name == "clamp":
        return (lambda z: np.clip(z, arguments[0], arguments[1])), [a for a in arguments if np.isfinite(a)]
    if name in _SMOOTH:
        return None, []
    raise ReplayError(f"{node.name}: the function {name} is not replayed.")


def _smooth(name: str, slope: Array, low: Array, high: Array, sign: int) -> Array:
    shape = np.broadcast_shapes(slope.shape, low.shape)
    slopes, lows, highs = (np.broadcast_to(a, shape).ravel().tolist() for a in (slope, low, high))
    found = [_extreme(name, s, a, b, sign) for s, a, b in zip(slopes, lows, highs, strict=True)]
    best = np.array(found, dtype=object).reshape(shape)
    return lower(best) if sign > 0 else upper(best)


def _extreme(name: str, slope: float, low: float, high: float, sign: int) -> arb:
    """Return in balls a bound of the extreme of f(z) - slope z over [low, high]; more points only loosen it."""
    points = [arb(low), arb(high)]
    if slope > 0:
        # sigmoid' = p (1 - p) with 2 p - 1 = tanh(z / 2); tanh' = 1 - tanh^2: either is slope at +-z.
        square = 1 - (4 if name == "sigmoid" else 1) * arb(slope)
        if not square < 0:
            z = (2 if name == "sigmoid" else 1) * square.nonnegative_part().sqrt().atanh()
            if not z.is_finite():
                ends = (arb(low), arb(high)) if sign > 0 else (arb(high), arb(low))
                return _value(name, ends[0]) - slope * ends[1]
            points += [point for point in (z, -z) if not (point < low or point > high)]
    found = [_value(name, z) - slope * z for z in points]
    best = found[0]
    for value in found[1:]:
        best = best.min(value) if sign > 0 else best.max(value)
    return best


def _value(name: str, z: arb) -> arb:
    return (1 + (z / 2).tanh()) / 2 if name == "sigmoid" else z.tanh()
