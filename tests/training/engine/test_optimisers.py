from typing import get_args

import pytest
import torch

from epsball.names import ScheduleName
from epsball.training import Recipe
from epsball.training.engine.optimisers import SCHEDULES, make_schedule, recipe_optimiser


def test_the_types_list_every_schedule():
    assert get_args(ScheduleName) == tuple(SCHEDULES)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_stay_between_zero_and_the_rate(name):
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = recipe_optimiser(Recipe(lr=0.5))([parameter])
    schedule = make_schedule(name, optimiser, 100)
    rates = []
    for _ in range(100):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    assert all(0 < rate <= 0.5 for rate in rates)
    if name == "constant":
        assert set(rates) == {0.5}
    else:
        assert rates[-1] < 0.1 * max(rates)


def test_piecewise_falls_to_a_tenth_at_half_and_three_quarters():
    factor = SCHEDULES["piecewise"]
    assert [factor(p) for p in (0.0, 0.49, 0.5, 0.74, 0.75, 0.99)] == [1, 1, 0.1, 0.1, 0.01, 0.01]
