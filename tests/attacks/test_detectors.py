import pytest
import torch

from epsball import Ball, Classifier, ModelError, attack
from epsball.attacks import PGD, SPSA, rejecting
from helpers import examples, mlp

BALL = Ball("linf", 0.25)


def detector(x):
    """Return a score that is positive on the brighter half."""
    return x.flatten(1).mean(1) - 0.5


def case():
    net = mlp()
    x, _ = examples(40)
    return net, x, net(x).argmax(1)


@pytest.mark.parametrize("method", [PGD(steps=30), SPSA(steps=10, pairs=8, learning_rate=0.05)], ids=lambda m: m.name)
def test_what_counts_is_misclassified_and_not_detected(method):
    net, x, y = case()
    classifier = Classifier(rejecting(net, detector), rejects=True)
    result = attack(classifier, x, y, BALL, method=method)
    wrong, seen = net(result.x_adv).argmax(1) != y, detector(result.x_adv) > 0
    assert torch.equal(result.broken, wrong & ~seen)
    assert result.broken.double().mean() > 0.2


def test_a_detector_that_sees_everything_leaves_nothing_to_break():
    net, x, y = case()
    always = Classifier(rejecting(net, lambda z: torch.ones(len(z))), rejects=True)
    assert attack(always, x, y, BALL, method=PGD(steps=10)).accuracy == 1.0
    never = Classifier(rejecting(net, lambda z: -torch.ones(len(z))), rejects=True)
    plain = attack(Classifier(net), x, y, BALL, method=PGD(steps=10, loss="margin"))
    assert torch.equal(attack(never, x, y, BALL, method=PGD(steps=10, loss="margin")).broken, plain.broken)


def test_an_attack_that_ignores_the_detector_is_detected():
    net, x, y = case()
    ignoring = attack(Classifier(net), x, y, BALL, method=PGD(steps=30))
    adaptive = attack(Classifier(rejecting(net, detector), rejects=True), x, y, BALL, method=PGD(steps=30))
    undetected = ignoring.broken & ~(detector(ignoring.x_adv) > 0)
    assert adaptive.broken.sum() > undetected.sum()


def test_a_detector_of_another_shape_or_too_few_logits_are_errors():
    net, x, y = case()
    with pytest.raises(ModelError, match="one score each"):
        attack(Classifier(rejecting(net, lambda z: z), rejects=True), x, y, BALL)
    with pytest.raises(ModelError, match="needs two classes beside it"):
        attack(Classifier(mlp(classes=2), rejects=True), x, torch.zeros_like(y), BALL)
