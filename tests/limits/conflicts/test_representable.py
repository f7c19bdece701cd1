from fractions import Fraction

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from epsball.ball import Ball
from epsball.limits import optimal_risk
from limits.oracles import cliques, soft_risk


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(2, 4))
def test_stored_is_a_lower_bound_over_common_floats(seed, classes):
    """In linf the rounded midpoint decides, and pairs of intervals that share floats share them jointly."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 60, (14, 2)).astype(np.uint8)
    y = rng.integers(0, classes, 14)
    y[:classes] = np.arange(classes)
    radius = Fraction(int(rng.choice([8, 16, 24])), 255)
    ball = Ball("linf", radius, None, None)
    centres = torch.from_numpy(x).float() / 255
    a, b = centres.repeat_interleave(14, dim=0), centres.repeat(14, 1)
    middle = ((a.double() + b.double()) / 2).float()
    held = (ball.contains(middle, a) & ball.contains(middle, b)).reshape(14, 14).numpy()
    held &= y[:, None] != y[None, :]
    expected = soft_risk(14, cliques(held, classes), np.full(14, 1 / 14))
    limit = optimal_risk(x, y, norm="linf", radii=[radius]).curve[0]
    assert limit.stored <= min(expected, limit.risk.value) + 1e-9
    if classes == 2:
        assert abs(limit.stored - expected) < 1e-12
