import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epsball.errors import InputError
from epsball.limits import separation
from limits.oracles import integer_keys


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from(["linf", "l2", "l1"]), st.booleans(), st.booleans())
def test_equals_the_smallest_of_all_pairs(seed, norm, crossed, floats):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (30, 4)).astype(np.uint8)
    y = rng.integers(0, 3, 30)
    y[:3] = 0, 1, 2
    queries = np.arange(30) % 4 == 0 if crossed else None
    allowed = y[:, None] != y[None, :]
    if queries is not None:
        allowed &= queries[:, None] != queries[None, :]
    keys = np.where(allowed, integer_keys(x, norm), np.iinfo(np.int64).max)
    expected = np.sqrt(keys.min()) if norm == "l2" else keys.min()
    found = separation(x / 7 if floats else x, y, norm=norm, queries=queries)
    assert found.distance == pytest.approx(expected / (7 if floats else 255))
    assert keys[found.first, found.second] == keys.min()


def test_identical_points_of_different_label():
    assert separation(np.zeros((4, 2), np.uint8), np.array([0, 0, 1, 1])).distance == 0.0


def test_marks_that_leave_no_pair():
    with pytest.raises(InputError, match="queries"):
        separation(np.eye(2), np.array([0, 1]), queries=np.array([True, True]))
