import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from epsball import limits
from epsball.ball import Ball
from limits.oracles import integer_keys


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from(["linf", "l2", "l1"]))
def test_pairs_are_those_within_twice_the_radius(seed, norm):
    rng = np.random.default_rng(seed)
    pixels, y = rng.integers(0, 60, (20, 2)).astype(np.uint8), torch.from_numpy(rng.integers(0, 3, 20))
    x, ball = torch.from_numpy(pixels).float() / 255, Ball(norm, "8/255")
    pairs = limits.overlapping_pairs(x[:12], y[:12], x[12:], y[12:], ball)
    near = integer_keys(pixels, norm)[:12, 12:] <= (16**2 if norm == "l2" else 16)
    near &= (y[:12, None] != y[None, 12:]).numpy()
    found = sorted(zip(pairs.example.tolist(), pairs.partner.tolist(), strict=True))
    assert found == sorted(map(tuple, np.argwhere(near).tolist()))
    a, b = x[pairs.example], x[12 + pairs.partner]
    middle = limits.midpoints(a, b)
    held = ball.contains(middle, a) & ball.contains(middle, b)
    assert pairs.common.tolist() == held.tolist()
    assert pairs.ties == int((~held).sum())


def test_old_names():
    assert limits.Meetings is limits.OverlappingPairs
    assert limits.meetings is limits.overlapping_pairs
