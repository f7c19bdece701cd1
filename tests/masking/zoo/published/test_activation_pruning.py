"""Stochastic activation pruning against the algorithm of the paper."""

import pytest
import torch
from torch import nn

from epsball import InputError
from epsball.masking.zoo.published.activation_pruning import (
    ActivationPruning,
    keep_probabilities,
    pruned,
    sampling_probabilities,
)


def test_probabilities_are_shares_of_the_size():
    p = sampling_probabilities(torch.tensor([[1.0, -3.0, 0.0], [0.0, 0.0, 0.0]]))
    torch.testing.assert_close(p, torch.tensor([[0.25, 0.75, 0.0], [1 / 3, 1 / 3, 1 / 3]]))


def test_keep_probabilities_are_one_minus_the_chance_of_never():
    p = torch.tensor([[0.2, 0.5, 0.3, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(keep_probabilities(p, 3)[0, :3], 1 - (1 - p[0, :3]) ** 3)
    assert keep_probabilities(p, 3)[0, 3] == 1


def test_activations_are_kept_as_often_as_stated_and_unbiased():
    torch.manual_seed(0)
    h = torch.tensor([0.1, 0.5, -1.0, 2.0, 0.0, 4.0])
    pruning = ActivationPruning(share=0.5)
    out = pruning(h.expand(40_000, 6))
    p = h.abs() / h.abs().sum()
    keep = 1 - (1 - p) ** 3
    kept = (out != 0).double().mean(0)
    torch.testing.assert_close(kept, keep.double(), atol=0.01, rtol=0)
    torch.testing.assert_close(out.mean(0), h, atol=0.05, rtol=0)
    largest = out[out[:, 5] != 0][0, 5]
    torch.testing.assert_close(largest, h[5] / keep[5])


def test_every_activation_of_a_copy_is_pruned():
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Sequential(nn.Linear(8, 8), nn.Tanh()), nn.Linear(8, 3))
    classifier = pruned(network)
    assert classifier.stochastic
    assert sum(isinstance(m, ActivationPruning) for m in classifier.module.modules()) == 2
    assert not any(isinstance(m, ActivationPruning) for m in network.modules())
    with pytest.raises(InputError, match="no activation layer"):
        pruned(nn.Linear(3, 2))
