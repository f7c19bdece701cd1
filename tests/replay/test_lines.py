"""Lines for given slopes lie on the right side of the function, and touch it."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("flint", reason="the checker needs the extra replay")

from epsball_replay import lines
from epsball_replay.network import Node

FUNCTIONS = {
    "relu": ((), lambda z: np.maximum(z, 0)),
    "leaky_relu": ((0.1,), lambda z: np.where(z > 0, z, 0.1 * z)),
    "abs": ((), np.abs),
    "clamp": ((-1.0, 2.0), lambda z: np.clip(z, -1, 2)),
    "sigmoid": ((), lambda z: 1 / (1 + np.exp(-z))),
    "tanh": ((), np.tanh),
}
finite = st.floats(-8, 8)


@pytest.mark.parametrize("name", FUNCTIONS)
@given(
    ends=st.tuples(finite, finite), slope=st.one_of(st.floats(-2, 2), st.sampled_from([0.0, 1e-300, 1e-60, 0.25, 1.0]))
)
def test_a_line_is_on_its_side_and_touches(name, ends, slope):
    arguments, function = FUNCTIONS[name]
    low, high = min(ends), max(ends)
    node = Node("n", "Elementwise", {"function": name, "arguments": list(arguments)}, ("x",), (1,))
    z = np.linspace(low, high, 2001)
    for sign in (1, -1):
        t = lines.intercepts(node, np.array([slope]), np.array([low]), np.array([high]), {}, sign)
        gap = sign * (function(z) - (slope * z + t[0]))
        assert gap.min() >= -1e-14
        assert gap.min() <= 1e-4 + 1e-3 * (high - low)


def test_bounds_of_a_curve_hold_where_its_slope_is_extreme():
    node = Node("n", "Elementwise", {"function": "sigmoid", "arguments": []}, ("x",), (1,))
    for slope in (0.25, np.nextafter(0.25, 1), np.nextafter(0.25, 0), 5e-324):
        t = lines.intercepts(node, np.array([slope]), np.array([-700.0]), np.array([700.0]), {}, 1)
        z = np.linspace(-700, 700, 5001)
        assert (1 / (1 + np.exp(-z)) - slope * z - t[0]).min() >= -1e-12


def test_lines_around_a_maximum_hold_at_sampled_points():
    generator = np.random.default_rng(0)
    low = generator.normal(size=(500, 4)) * 10.0 ** generator.integers(-9, 9, size=(500, 1))
    high = low + np.abs(generator.normal(size=(500, 4))) * 10.0 ** generator.integers(-9, 9, size=(500, 1))
    high[::5] = low[::5]
    width = high - low
    low[::7, 1:], high[::7, 1:], width[::7, 1:] = -np.inf, -np.inf, 0
    below, above, slope, intercept = lines.peak(low, high)
    rows = np.arange(500)
    for share in generator.choice([0.0, 0.3, 1.0], size=(60, 500, 4)):
        point = np.minimum(low + share * width, high)
        most = point.max(axis=1)
        line = [
            Fraction(s) * Fraction(z) + Fraction(t)
            for s, z, t in zip(slope, point[rows, above], intercept, strict=True)
        ]
        assert (point[rows, below] <= most).all()
        assert all(bound >= Fraction(value) for bound, value in zip(line, most, strict=True))
