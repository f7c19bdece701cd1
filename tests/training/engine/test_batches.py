"""Batches, and those of single rows on which batch norm fails."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import epsball as eb
from epsball import InputError
from epsball.training import Recipe
from epsball.training.engine.batches import Batches
from epsball.training.engine.step import Stepper
from epsball.training.prepare import prepare
from epsball.training.processes import ALONE, Processes
from helpers import convnet


def normalised() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))


def stepper(module: nn.Module, size: int, n: int = 43, objective="standard", shape=(8,), processes=ALONE) -> Stepper:
    data = torch.rand(n, *shape, generator=torch.Generator().manual_seed(0)), torch.arange(n) % 3
    task, _ = prepare(module, data, objective, None, None, eb.Ball("linf", 0.1), Recipe(epochs=1, batch_size=size))
    return Stepper(replace(task, processes=processes))


def sizes(run: Stepper) -> list[int]:
    return [len(run.batches[step]) for step in range(run.batches.total)]


@pytest.mark.parametrize(("n", "size", "fewest"), [(39, 2, 2), (41, 4, 4), (10, 3, 2), (5, 5, 4)])
def test_batches_hold_the_fewest_rows_and_every_example_once(n, size, fewest):
    batches = Batches(torch.arange(n), Recipe(epochs=1, batch_size=size), fewest=fewest)
    found = [batches[step] for step in range(batches.total)]
    assert min(map(len, found)) >= fewest
    assert torch.cat(found).sort().values.tolist() == list(range(n))


@pytest.mark.parametrize(("size", "expected"), [(2, [3] + 18 * [2]), (3, 13 * [3]), (19, 3 * [13]), (38, [20, 19])])
def test_single_rows_join_others_where_batch_norm_fails_on_them(size, expected):
    assert sizes(stepper(normalised(), size)) == expected


def test_single_rows_stay_where_nothing_fails_on_them():
    plain = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    assert sizes(stepper(plain, 2))[-1] == 1
    assert sizes(stepper(plain, 1)) == 39 * [1]
    assert sizes(stepper(normalised(), 1, objective="trades,steps=1")) == 39 * [1]
    assert sizes(stepper(convnet(classes=3), 1, shape=(1, 8, 8))) == 39 * [1]


def test_batches_of_one_row_are_refused_where_batch_norm_fails_on_them():
    with pytest.raises(InputError, match="fails on a single row"):
        stepper(normalised(), 1)
    with pytest.raises(InputError, match="batch_size is 1 for 1 examples"), pytest.warns(UserWarning, match="class"):
        stepper(normalised(), 1, n=2)


def test_each_of_several_processes_gets_two_rows_or_none_is_needed():
    two = Processes(index=1, count=2)
    assert min(sizes(stepper(normalised(), 4, n=46, processes=two))) == 4
    assert min(sizes(stepper(nn.Linear(8, 3), 4, n=46, processes=two))) == 3
    with pytest.raises(InputError, match="at least 4"):
        stepper(normalised(), 3, processes=two)


def test_finding_out_leaves_no_trace():
    module = normalised()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state = torch.get_rng_state()
    stepper(module, 2)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_training_with_a_ragged_batch_of_one_row_ends():
    data = torch.rand(43, 8), torch.arange(43) % 3
    assert len(eb.train(normalised(), data, recipe=Recipe(epochs=2, batch_size=2)).history) == 2
