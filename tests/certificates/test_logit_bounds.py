"""Bounds of the logits of one example, by every method."""

import json

import pytest
import torch
from torch import nn

from certificates.networks import sampled
from epsball import Ball, Classifier
from epsball.certificates import METHODS, logit_bounds
from epsball.cli import main
from epsball.errors import InputError, UnsupportedOperation


@pytest.fixture(scope="module")
def subject():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 3)).requires_grad_(False)
    return Classifier(module), torch.rand(1, 3)


def test_every_method_encloses_the_logits_of_the_ball(subject):
    classifier, x = subject
    ball = Ball("linf", "1/8")
    found = logit_bounds(classifier, x, ball)
    assert list(found.low) == list(METHODS)
    logits = classifier.logits(sampled(ball, x, 500)).double()
    for name in METHODS:
        assert bool((found.low[name] <= logits.amin(dim=0)).all()), name
        assert bool((found.high[name] >= logits.amax(dim=0)).all()), name
    assert bool((found.low["complete"] >= found.low["lp"] - 2e-4).all())
    assert bool((found.low["complete"] > logits.amin(dim=0) - 0.1).all())
    assert found.to_arrow().num_rows == 3 * len(METHODS)
    assert "class 2" in str(found)


def test_what_covers_no_l2_ball_says_so_and_the_rest_runs(subject):
    found = logit_bounds(*subject, Ball("l2", "1/4"), semantics="real")
    assert set(found.refused) == {"lp", "lp-tight"}
    assert "lp: " in str(found)


def test_methods_beyond_the_limit_are_named(subject):
    found = logit_bounds(*subject, Ball("linf", "1/4"), cpu_seconds=1e-9)
    assert list(found.low) == ["interval"]
    assert "not run" in found.refused["complete"]


def test_several_examples_and_masked_classes_are_refused(subject):
    classifier, x = subject
    with pytest.raises(InputError, match="one at a time"):
        logit_bounds(classifier, x.repeat(2, 1), Ball("linf", "1/4"))

    class Masked(nn.Module):
        def forward(self, x):
            return x + torch.tensor([0.0, 0.0, -torch.inf])

    with pytest.raises(UnsupportedOperation, match="masked"):
        logit_bounds(Classifier(Masked()), x, Ball("linf", "1/4"))


def test_the_command_prints_one_row_per_method(capsys):
    call = ["certify", "mlp,hidden=8", "digits,first=2", "--ball", "linf:0.01", "--logits"]
    assert main([*call, "1", "--method", "crown", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["low"]) == ["crown"]
    assert main([*call, "2"]) == 2
    assert "the data have 2 examples" in capsys.readouterr().err
