"""Several networks at once give what each pair gives alone."""

import json

import pytest
import torch
from torch import nn

from epsball.errors import InputError, ModelError
from epsball.similarity import cka, similarities
from similarity.networks import ResNet, seeded

X = torch.randn(36, 3, 6, 6, generator=torch.Generator().manual_seed(0))
NETWORKS = {"epoch 1": seeded(ResNet), "epoch 2": seeded(ResNet, seed=1), "wide": seeded(ResNet, 6, seed=2)}


@pytest.mark.usefixtures("as_users_run")
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_every_pair_is_what_it_is_alone(kernel):
    found = similarities(NETWORKS, X, layers="stages", kernel=kernel, batch_size=12)
    names = list(NETWORKS)
    assert list(found.pairs) == [(a, b) for i, a in enumerate(names) for b in names[i:]]
    for (a, b), value in found.pairs.items():
        alone = cka(NETWORKS[a], NETWORKS[b], X, layers="stages", kernel=kernel, batch_size=12)
        torch.testing.assert_close(value.matrix, alone.matrix)
        torch.testing.assert_close(value.error, alone.error)
        torch.testing.assert_close(value.shifted, alone.shifted)


def test_one_network_under_two_names_is_itself():
    model = seeded(ResNet)
    found = similarities({"a": model, "b": model}, X, layers="stages")
    torch.testing.assert_close(found.pairs["a", "b"].matrix, found.pairs["a", "a"].matrix)


def test_the_result_prints_stores_and_draws_itself():
    found = similarities(NETWORKS, X, layers="stages")
    assert len(str(found).splitlines()) == 2 + 6
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["pairs"][1]["networks"] == ["epoch 1", "epoch 2"]
    table = found.to_arrow().to_pylist()
    assert len(table) == 6 * 5 * 5
    assert (table[25]["network_a"], table[25]["network_b"]) == ("epoch 1", "epoch 2")
    titles = [ax.get_title() for ax in found.plot().axes[:6]]
    assert titles[:2] == ["epoch 1", "epoch 1 (up) and epoch 2"]


@pytest.mark.usefixtures("as_users_run")
def test_the_memory_is_that_of_all_networks_together():
    x = torch.randn(100, 6)
    two = similarities({"a": nn.Linear(6, 3), "b": nn.Linear(6, 3)}, x, max_memory=1_920_000)
    three = similarities({str(i): nn.Linear(6, 3) for i in range(3)}, x, max_memory=1_920_000)
    assert two.pairs["a", "b"].batches == 1
    assert three.pairs["0", "1"].batches == 8


def test_messages_name_the_network():
    with pytest.raises(InputError, match="networks is empty"):
        similarities({}, X)
    with pytest.raises(InputError, match="no layer of epoch 1 is called 'fx'. Did you mean 'fc'"):
        similarities(NETWORKS, X, layers="fx")
    with pytest.raises(ModelError, match="the model fails on an input of shape"):
        similarities({"wrong": nn.Linear(2, 2)}, X)
