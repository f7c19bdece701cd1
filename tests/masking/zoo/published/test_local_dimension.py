"""The estimator of local dimension against its formula in scipy's numbers, and the detector."""

import numpy as np
import pytest
import torch
from scipy import spatial, stats
from torch import nn

from epsball import Classifier, InputError
from epsball.masking.zoo.published.local_dimension import (
    ConfidentThenJoint,
    DimensionDetector,
    Undetected,
    detecting,
    local_dimension,
)


def test_the_estimator_is_the_published_formula():
    x, references = np.random.default_rng(0).normal(size=(7, 5)), np.random.default_rng(1).normal(size=(50, 5))
    distances = np.sort(spatial.distance.cdist(x, references), axis=1)[:, :20]
    expected = -1 / np.mean(np.log(distances / distances[:, -1:]), axis=1)
    torch.testing.assert_close(local_dimension(torch.tensor(distances)), torch.tensor(expected))


def test_it_estimates_the_dimension_of_a_cube():
    """Distances from the centre of a d-dimensional ball have P(r < t) = t^d."""
    for d in (2, 8):
        r = np.sort(stats.powerlaw(d).rvs(size=(400, 100), random_state=0), axis=1)
        assert float(local_dimension(torch.tensor(r)).median()) == pytest.approx(d, rel=0.1)


def test_features_are_those_of_each_layer():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    references, x = torch.rand(30, 4).double(), torch.rand(5, 4).double()
    dimensions = DimensionDetector(network, references, neighbours=8).dimensions(x)
    assert dimensions.shape == (5, 4)
    hidden = network[:2]
    distances = np.sort(spatial.distance.cdist(hidden(x).detach(), hidden(references).detach()), axis=1)[:, :8]
    torch.testing.assert_close(dimensions[:, 1].detach(), local_dimension(torch.tensor(distances)))


def test_a_reference_is_not_its_own_neighbour():
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).double()
    references = torch.rand(30, 4).double()
    detector = DimensionDetector(network, references, neighbours=5)
    assert bool(detector.dimensions(references[:3]).isfinite().all())


def test_the_regression_separates_and_the_threshold_rejects_its_share():
    torch.manual_seed(0)
    detector = DimensionDetector(nn.Sequential(nn.Flatten(), nn.ReLU()), torch.rand(30, 4), neighbours=5)
    clean, adversarial = torch.randn(200, 2), torch.randn(200, 2) + torch.tensor([2.0, 0.0])
    detector.fit(clean, adversarial)

    score = detector.score
    assert float((score(adversarial) > 0).double().mean()) > 0.75
    assert float((score(clean) > 0).double().mean()) < 0.25
    detector.calibrate(clean, 0.05)
    assert float((score(clean) > 0).double().mean()) == pytest.approx(0.05, abs=0.005)


def test_the_classifier_rejects_where_the_score_is_positive():
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    detector = DimensionDetector(network, torch.rand(30, 4), neighbours=5)
    detector.bias.fill_(1.0)
    classifier = detecting(network, detector)
    assert classifier.rejects
    assert bool((classifier.logits(torch.rand(4, 4)).argmax(1) == 3).all())
    ignored = Classifier(Undetected(network)).logits(torch.rand(4, 4))
    assert bool((ignored[:, 3] < ignored[:, :3].amin(1)).all())
    assert ConfidentThenJoint(network).name == "confident then joint"


def test_too_few_references_are_an_error():
    with pytest.raises(InputError, match="more than the 20 neighbours"):
        DimensionDetector(nn.Sequential(nn.Flatten()), torch.rand(20, 4))
