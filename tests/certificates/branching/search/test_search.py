"""Tests of the search: how long parts ascend."""

import pytest

from epsball.certificates.branching.search.search import climb


@pytest.mark.parametrize(
    ("depths", "steps"), [([0], 4), ([3, 9], 4), ([12], 6), ([29], 14), ([20, 24, 28], 12), ([130], 16)]
)
def test_an_ascent_takes_half_as_many_steps_as_cuts(depths: list[int], steps: int) -> None:
    assert climb(depths).steps == steps


def test_long_ascents_take_smaller_steps() -> None:
    assert climb([40]).slope_step < climb([0]).slope_step
