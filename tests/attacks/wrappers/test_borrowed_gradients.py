"""Attacks with the gradients of another network: verdicts and passes are the model's."""

import pytest
import torch
from torch import nn

from epsball import Ball, Classifier, ModelError, attack
from epsball.attacks import BorrowedGradients, bpda, expectation_over_transformation
from helpers import Wrapped, examples, mlp

BALL = Ball("linf", 0.3)


def quantised(net):
    return nn.Sequential(Wrapped(lambda _, z: (8 * z).round() / 8), net)


def test_the_search_is_that_of_a_model_with_stand_ins_and_the_verdict_is_the_models():
    net = mlp()
    defended = quantised(net)
    x, _ = examples(30)
    y = defended(x).argmax(1)
    network = nn.Sequential(bpda(defended[0]), net)
    classifier = Classifier(defended)
    method = BorrowedGradients(network=network, method="pgd,steps=10,start=none")
    result = attack(classifier, x, y, BALL, method=method)
    direct = attack(Classifier(network), x, y, BALL, method="pgd,steps=10,start=none")
    assert torch.equal(result.x_adv, direct.x_adv)
    assert torch.equal(defended(result.x_adv).argmax(1) != y, result.broken)
    assert result.accuracy < attack(classifier, x, y, BALL, method="pgd,steps=10").accuracy
    assert result.ledger.passes[1] > 0
    assert "pgd-10 with borrowed gradients" in result.ledger.summary()


def test_points_that_break_only_the_lender_do_not_count():
    net = mlp()
    x, _ = examples(20)
    y = net(x).argmax(1)
    deaf = Wrapped(lambda inner, z: inner(torch.zeros_like(z)) * 0 + 5 * nn.functional.one_hot(y[:1], 4), net)
    right = y == y[0]
    result = attack(Classifier(deaf), x[right], y[right], BALL, method=BorrowedGradients(network=net, method="pgd"))
    assert result.accuracy == 1.0


def test_passes_are_all_counted_and_the_lender_is_left_as_it_was():
    net, lender = mlp(), mlp(seed=1).train()
    classifier = Classifier(net)
    x, _ = examples(20)
    y = net(x).argmax(1)
    method = expectation_over_transformation("pgd,steps=3", samples=2)
    result = attack(classifier, x, y, BALL, method=BorrowedGradients(network=lender, method=method), stop="never")
    assert result.ledger.passes == (classifier.passes.forward, classifier.passes.backward)
    assert lender.training
    assert all(p.requires_grad for p in lender.parameters())


def test_what_is_not_a_module_is_refused(as_users_run):
    with pytest.raises(ModelError, match="give a torch.nn.Module"):
        BorrowedGradients(network=torch.relu)
