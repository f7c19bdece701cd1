"""Expectation over transformation, BPDA, rescaled and user-given losses: each against a planted defence."""

import pytest
import torch
from torch import nn

from epsball import Ball, Classifier, InputError, ModelError, attack
from epsball.attacks import PGD, GradientNoise, bpda, expectation_over_transformation, losses
from epsball.attacks.engine.evaluator import AveragedEvaluator, Evaluator
from helpers import Counter, Wrapped, examples, linear, mlp

BALL = Ball("linf", 0.3)


def noisy(scale=0.3) -> nn.Module:
    return Wrapped(lambda inner, x: inner(x + scale * torch.randn_like(x)), mlp())


def test_the_averaged_gradient_is_the_mean_and_its_error_that_of_the_mean():
    module = Wrapped(lambda inner, x: inner(x) * torch.rand(len(x), 1).mul(2), linear(torch.eye(4), torch.zeros(4)))
    classifier = Classifier(module, stochastic=True)
    noise = GradientNoise()
    samples = 400
    x, _ = examples(5, (4,))
    with classifier.in_use():
        torch.manual_seed(0)
        logits, (value,), (gradient,) = AveragedEvaluator(Evaluator(classifier, "float32"), samples, noise).gradients(
            x, [lambda logits, points: logits[:, 0]]
        )
    expected = torch.tensor([1.0, 0, 0, 0]).expand(5, 4)
    torch.testing.assert_close(gradient, expected, rtol=0.1, atol=1e-6)
    torch.testing.assert_close(value, x[:, 0], rtol=0.1, atol=1e-6)
    torch.testing.assert_close(logits.exp().sum(1), torch.ones(5))
    # The factor is uniform on (0, 2): standard deviation 1 / sqrt(3), so the error is that over sqrt(samples).
    torch.testing.assert_close(noise.relative_errors, torch.full((5,), (1 / 3 / samples) ** 0.5), rtol=0.15, atol=0)
    assert "relative standard error of 5 mean gradients" in str(noise)


def test_averaging_ascends_where_single_gradients_are_noise():
    """The sign of the gradient must be right: a mean of many gradients finds more than one of them."""
    x, _ = examples(30)
    y = mlp()(x).argmax(1)

    def defended():
        return Classifier(noisy(), stochastic=True, repetitions=20)

    single = attack(defended(), x, y, BALL, method=PGD(steps=5), stop="never")
    method = expectation_over_transformation(PGD(steps=5), samples=20)
    averaged = attack(defended(), x, y, BALL, method=method, stop="never")
    assert averaged.margin.mean() < single.margin.mean() - 0.01
    assert 0 < method.noise.relative_errors.median() < 1


def test_every_sample_is_paid_for_and_a_deterministic_model_has_no_error():
    module = mlp()
    counter = Counter(module)
    classifier = Classifier(module)
    x, y = examples(20)
    method = expectation_over_transformation("pgd,steps=3", samples=4)
    result = attack(classifier, x, y, BALL, method=method, stop="never")
    plain = attack(Classifier(mlp()), x, y, BALL, method=PGD(steps=3), stop="never")
    assert result.ledger.summary()["pgd-3 x4"] == (20, 20 * (3 * 4 + 1), 20 * 3 * 4)
    assert result.ledger.passes == (counter.rows, classifier.passes.backward)
    assert (method.noise.relative_errors < 1e-6).all()
    assert len(method.noise.relative_errors) == 60
    assert plain.accuracy == pytest.approx(result.accuracy, abs=0.1)
    limited = attack(Classifier(mlp()), x, y, BALL, method=method, stop="never", budget=10)
    assert (limited.ledger.forwards + limited.ledger.backwards)[limited.ledger.of("pgd-3 x4")].max() <= 10


def test_one_sample_has_no_standard_error():
    x, y = examples(5)
    method = expectation_over_transformation("fgsm", samples=1)
    attack(Classifier(mlp()), x, y, BALL, method=method)
    assert method.noise.relative_errors.isnan().all()
    assert "2 samples or more" in str(method.noise)


def test_bpda_has_the_logits_of_the_defence_and_the_gradient_of_the_stand_in():
    def quantise(x):
        return (8 * x).round() / 8

    net = mlp()
    x, _ = examples(30)
    defended, approximated = nn.Sequential(Wrapped(lambda _, z: quantise(z)), net), nn.Sequential(bpda(quantise), net)
    assert torch.equal(defended(x), approximated(x))
    y = defended(x).argmax(1)
    masked = attack(Classifier(defended), x, y, BALL, method=PGD(steps=20, start="none"))
    open_ = attack(Classifier(approximated), x, y, BALL, method=PGD(steps=20, start="none"))
    assert masked.accuracy == 1.0
    assert "600 of 600 input gradients were exactly zero" in str(masked)
    assert "exactly zero" not in str(open_)
    assert open_.accuracy < 0.3
    assert torch.equal(defended(open_.x_adv).argmax(1) != y, open_.broken)


def test_bpda_passes_the_gradient_of_its_surrogate():
    module = bpda(torch.sign, lambda x: 3 * x)
    x = torch.tensor([[0.2, 0.4]], requires_grad=True)
    module(x).sum().backward()
    assert torch.equal(x.grad, torch.tensor([[3.0, 3.0]]))
    with pytest.raises(ModelError, match="same shape"):
        bpda(torch.sign, lambda x: x[:, :1])(x)


def test_rescaling_breaks_saturated_logits_where_cross_entropy_cannot():
    net = mlp()
    loud = Wrapped(lambda inner, x: 1e5 * inner(x), net)
    x, _ = examples(40)
    y = net(x).argmax(1)
    plain = attack(Classifier(loud), x, y, BALL, method=PGD(steps=20, start="none"))
    mended = attack(Classifier(loud), x, y, BALL, method="pgd,steps=20,start=none,loss=rescaled-cross-entropy")
    quiet = attack(Classifier(net), x, y, BALL, method=PGD(steps=20, start="none"))
    assert plain.accuracy > quiet.accuracy + 0.3
    assert mended.accuracy <= quiet.accuracy + 0.05


def test_rescaling_leaves_small_margins_alone():
    z, y = torch.randn(10, 4, generator=torch.Generator().manual_seed(0)) * 0.2, torch.arange(10) % 4
    close = losses.margin(z, y).abs() < 1
    same = losses.rescaled(losses.cross_entropy)(z, y) == losses.cross_entropy(z, y)
    assert same[close].all()
    assert close.any()


def test_a_user_given_loss_is_ascended():
    x, _ = examples(40)
    y = mlp()(x).argmax(1)

    def second_best(logits, labels):
        others = logits.scatter(1, labels[:, None], -torch.inf)
        return others.amax(1) - logits.gather(1, labels[:, None])[:, 0]

    given, named = (
        attack(Classifier(mlp()), x, y, BALL, method=PGD(steps=5, loss=loss)) for loss in (second_best, "margin")
    )
    assert torch.equal(given.x_adv, named.x_adv)
    descended = attack(
        Classifier(mlp()), x, y, BALL, method=PGD(steps=5, loss=lambda z, labels: -second_best(z, labels))
    )
    assert descended.accuracy > given.accuracy + 0.2


def test_too_few_samples_are_an_error():
    with pytest.raises(InputError, match="samples is 0"):
        expectation_over_transformation("pgd", samples=0)
    with pytest.raises(InputError, match="Did you mean 'pgd'"):
        expectation_over_transformation("pgdd", samples=2)


def test_there_is_nothing_to_average_in_an_attack_without_gradients():
    with pytest.raises(InputError, match="'square' takes no gradient"):
        expectation_over_transformation("square", 5)


def test_an_averaged_attack_declares_what_the_attack_declares():
    averaged = expectation_over_transformation("deepfool", samples=2)
    assert (averaged.domain, averaged.norms) == ("box", ("l2", "linf"))
    assert expectation_over_transformation("pgd", samples=2).norms == ("linf", "l2", "l1")
