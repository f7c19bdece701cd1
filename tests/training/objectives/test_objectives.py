"""Every objective: the contract, and its own criterion against standard training with the same seed."""

import functools
from dataclasses import replace
from typing import get_args
from unittest.mock import patch

import jaxtyping
import pytest
import torch
from torch import nn
from torch.nn import functional

import epsball as eb
from epsball import Ball, EpsballError, InputError
from epsball.attacks.parts.starts import STARTS
from epsball.training import (
    AWP,
    FGSMRS,
    KGB17,
    MART,
    PGD,
    TRADES,
    Cascade,
    Free,
    InputGradient,
    Losses,
    Recipe,
    Stability,
    Standard,
    named,
)
from epsball.training.evaluation import verdicts
from epsball.training.objectives.inner_search import StartName
from helpers import convnet, mlp
from training.contexts import context
from training.small_objectives import NAMES, small_objective

BALL = Ball("linf", 0.1)
OBJECTIVES = {
    **{name: lambda name=name: small_objective(name, BALL) for name in NAMES},
    "pgd l2": lambda: PGD(ball=Ball("l2", 0.5), steps=2),
    "pgd l1": lambda: PGD(ball=Ball("l1", 2), steps=2),
    "trades l2": lambda: TRADES(ball=Ball("l2", 0.5), steps=2),
}


def digits_mlp(seed: int = 0) -> nn.Module:
    return mlp(inputs=64, hidden=64, classes=10, seed=seed)


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_losses_are_one_per_example_and_leave_data_and_modes_alone(kind):
    module = convnet(classes=10)
    module[1].eval()
    x, y = torch.rand(12, 1, 8, 8), torch.randint(10, (12,))
    before = x.clone()
    losses = OBJECTIVES[kind]()(module, x, y, context(12))
    assert losses.examples.shape == (12,)
    assert all(part.shape == (12,) and not part.requires_grad for part in losses.parts.values())
    assert torch.equal(x, before)
    assert not x.requires_grad
    assert module.training
    assert not module[1].training
    assert all(p.grad is None and p.requires_grad for p in module.parameters())
    losses.examples.sum().backward()
    assert all(p.grad is not None for p in module.parameters())


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_a_batch_in_two_halves_gives_the_same_losses(kind):
    """What two processes see, for objectives that ask nothing of each other."""
    if kind == "awp":
        pytest.skip("the weights' step needs the sum over all processes; see test_processes")
    module = digits_mlp()
    x, y = torch.rand(10, 1, 8, 8), torch.randint(10, (10,))
    whole = context(10)
    objective = OBJECTIVES[kind]()
    together = objective(module, x, y, whole).examples
    for rows in (torch.arange(4), torch.arange(4, 10)):
        part = context(10, keys=whole.keys[rows], positions=rows)
        found = objective(module, x[rows], y[rows], part).examples
        torch.testing.assert_close(found, together[rows], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_registered_objective_knows_its_name(name):
    assert named(name).name == name == small_objective(name, BALL).name


def test_the_types_list_every_start():
    assert set(get_args(StartName)) == set(STARTS)


class Duck:
    """Inherits nothing: a name, a call, and search and losses apart."""

    def __init__(self) -> None:
        self.name = "duck"

    def __call__(self, module, x, y, context):
        return self.losses(module, x, self.search(module, x, y, context), y, context)

    def search(self, module, x, y, context):
        return (x + 0.1).clamp(0, 1)

    def losses(self, module, x, x_adv, y, context):
        return Losses(examples=context.cross_entropy(module(x_adv), y))


@pytest.mark.parametrize("make", [Duck, lambda: AWP(objective=Duck())])
def test_an_objective_of_ones_own_need_not_inherit(make, as_users_run):
    recipe = Recipe(epochs=2, batch_size=50)
    result = eb.train(digits_mlp(), "digits,first=120", objective=make(), recipe=recipe)
    assert result.history[1].loss < result.history[0].loss
    assert result.card.training["objective"]["name"] in ("duck", "awp")


RECIPE = Recipe(epochs=5, batch_size=50, lr=0.2, schedule="one-cycle", holdout=0.02)
FEW = replace(RECIPE, epochs=2)


@functools.cache
def trained(objective, recipe: Recipe = RECIPE) -> eb.Classifier:
    """Train as users do, without the checks of types that only tests switch on: ten times as fast."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with patch.object(verdicts, "METHOD", eb.attacks.PGD(steps=1)):
            return eb.train(digits_mlp(), "digits,first=700", objective=objective, recipe=recipe).classifier
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def standard() -> eb.Classifier:
    return trained(Standard())


@pytest.fixture(scope="module")
def test_digits():
    x, y = eb.data.load("digits")[:400]
    return eb.data.as_pixels(x), y


def under_attack(classifier: eb.Classifier, data, method: str = "pgd,steps=10") -> float:
    return eb.attack(classifier, *data, BALL, method=method).accuracy


@pytest.mark.parametrize(
    "objective",
    [
        PGD(ball=BALL, steps=3),
        FGSMRS(ball=BALL),
        TRADES(ball=BALL, steps=3),
        MART(ball=BALL, steps=3),
        AWP(objective=PGD(ball=BALL, steps=3), gamma=0.02),
    ],
    ids=lambda objective: objective.name,
)
def test_adversarial_training_raises_accuracy_under_attack(objective, standard, test_digits, as_users_run):
    assert under_attack(trained(objective), test_digits) > under_attack(standard, test_digits) + 0.05


def test_free_training_raises_accuracy_under_attack_at_the_same_number_of_steps(standard, test_digits, as_users_run):
    free = trained(Free(ball=BALL, replays=3), FEW)
    assert under_attack(free, test_digits) > under_attack(standard, test_digits) + 0.05


def test_mixed_batches_raise_accuracy_under_the_one_step_attack(standard, test_digits, as_users_run):
    mixed = trained(KGB17(ball=Ball("linf", 0.2), fraction=0.75, weight=1.0))
    assert under_attack(mixed, test_digits, "fgsm") > under_attack(standard, test_digits, "fgsm") + 0.02


def test_cascade_raises_accuracy_on_the_adversarial_examples_of_its_source(standard, test_digits, as_users_run):
    source = trained(PGD(ball=BALL, steps=3), FEW)
    cascade = trained(Cascade(ball=BALL, source=source.network, weight=1.0, similarity=0.01))
    x, y = test_digits
    transferred = eb.attack(source, x, y, BALL, method="pgd,steps=10", stop="never").x_adv
    accuracies = [(c(transferred).argmax(1) == y).double().mean() for c in (cascade, standard)]
    assert accuracies[0] > accuracies[1]
    assert under_attack(cascade, test_digits) > under_attack(standard, test_digits) + 0.05


def test_stability_training_makes_predictions_agree_under_noise(standard, test_digits, as_users_run):
    stable = trained(Stability(sigma=0.4, weight=1.0))
    x, _ = test_digits
    noise = 0.4 * torch.randn((5, *x.shape), generator=torch.Generator().manual_seed(0))

    def agreement(classifier: eb.Classifier) -> float:
        noisy = [classifier((x + draw).clamp(0, 1)).argmax(1) for draw in noise]
        return float((torch.stack(noisy) == classifier(x).argmax(1)).double().mean())

    assert agreement(stable) > agreement(standard) + 0.01


def test_input_gradient_regularisation_shrinks_the_input_gradient(standard, test_digits, as_users_run):
    regularised = trained(InputGradient(weight=0.1))
    x, y = test_digits

    def slope(classifier: eb.Classifier) -> float:
        points = x.clone().requires_grad_()
        loss = functional.cross_entropy(classifier.network(points), y, reduction="sum")
        return float(torch.autograd.grad(loss, points)[0].flatten(1).square().sum(1).mean())

    assert slope(regularised) < 0.6 * slope(standard)


def test_weight_perturbation_flattens_the_adversarial_loss_in_the_weights(test_digits, as_users_run):
    x, y = test_digits
    plain = PGD(ball=BALL, steps=3)

    def rise(classifier: eb.Classifier) -> float:
        wrapped = AWP(objective=plain, gamma=0.05)
        here, there = (o(classifier.network, x, y, context(len(x))).examples.mean() for o in (plain, wrapped))
        return float((there - here).detach())

    assert rise(trained(AWP(objective=plain, gamma=0.02))) < rise(trained(plain))


def test_weight_perturbation_is_the_gradient_at_the_shifted_weights():
    module, x, y = digits_mlp().double(), torch.rand(9, 1, 8, 8).double(), torch.randint(10, (9,))
    plain = PGD(ball=BALL, steps=2)
    x_adv = plain.search(module, x, y, context(9))
    layers = [p for p in module.parameters() if p.ndim > 1]
    gradients = torch.autograd.grad(functional.cross_entropy(module(x_adv), y), layers)
    losses = AWP(objective=plain, gamma=0.1)(module, x, y, context(9)).examples
    found = torch.autograd.grad(losses.sum(), layers[0])[0]
    with torch.no_grad():
        for weight, gradient in zip(layers, gradients, strict=True):
            weight += 0.1 * weight.norm() * gradient / gradient.norm()
    expected = functional.cross_entropy(module(x_adv), y, reduction="none")
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(found, torch.autograd.grad(expected.sum(), layers[0])[0])


def test_weight_perturbation_shows_batch_norm_a_batch_once():
    module = convnet(classes=10)
    losses = AWP(objective=Standard())(module, torch.rand(6, 1, 8, 8), torch.randint(10, (6,)), context(6))
    losses.examples.sum().backward()
    assert module[1].num_batches_tracked == 1


class Ripple(nn.Module):
    """Two classes; class 0 wins but around a distance of 0.1 from x = 0.5, which one long step jumps over."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        margin = self.scale * torch.cos(10 * torch.pi * (x[:, :1] - 0.5))
        return torch.cat([margin, torch.zeros_like(margin)], 1)


def test_catastrophic_overfitting_is_detected_and_reported():
    x, y = torch.full((64, 1), 0.5), torch.zeros(64, dtype=torch.int64)
    ball = Ball("linf", 0.2)
    setting = context(64)
    objective = FGSMRS(ball=ball, every=1)
    with pytest.warns(UserWarning, match=r"catastrophic overfitting at step 1: .* continues with PGD-10"):
        objective(Ripple(), x, y, setting)
    assert setting.state == {"collapsed": True}
    objective(Ripple(), x, y, setting)
    with pytest.raises(EpsballError, match="catastrophic overfitting"):
        FGSMRS(ball=ball, every=1, collapse="stop")(Ripple(), x, y, context(64))
    honest = context(64)
    FGSMRS(ball=ball, every=1)(mlp(1, 8, 2), x, y, honest)
    assert not honest.state


def test_free_training_moves_its_perturbation_by_the_gradient_of_the_weights_own_backward():
    module, x, y = digits_mlp(), torch.rand(5, 1, 8, 8), torch.randint(10, (5,))
    setting = context(5)
    objective = Free(ball=BALL, step_size=0.03)
    objective(module, x, y, setting).examples.sum().backward()
    points = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(functional.cross_entropy(module(points), y, reduction="sum"), points)
    expected = (x + 0.03 * gradient.sign()).clamp(0, 1) - x
    torch.testing.assert_close(setting.state["delta"], expected, atol=1e-6, rtol=0)
    objective(module, x[:3], y[:3], context(3, state=setting.state)).examples.sum().backward()
    assert len(setting.state["delta"]) == 5


def test_the_mean_of_a_mixed_batch_is_the_published_loss():
    module, x, y = digits_mlp().double(), torch.rand(8, 1, 8, 8).double(), torch.randint(10, (8,))
    objective = KGB17(ball=BALL, fraction=0.25, weight=0.3)
    x_adv = objective.search(module, x, y, context(8))
    assert (x_adv[:2] != x[:2]).any()
    assert torch.equal(x_adv[2:], x[2:])
    ce = functional.cross_entropy(module(x_adv), y, reduction="none")
    expected = (ce[2:].sum() + 0.3 * ce[:2].sum()) / (6 + 0.3 * 2)
    torch.testing.assert_close(objective(module, x, y, context(8)).examples.mean(), expected)


def test_what_the_types_rule_out_is_explained(as_users_run):
    with pytest.raises(InputError, match="awp cannot wrap"):
        AWP(objective=Free(ball=BALL))
    with pytest.raises(InputError, match="Did you mean 'pgd'"):
        FGSMRS(ball=BALL, collapse="pdg")


def test_bad_options_are_explained():
    for make, words in (
        (lambda: Free(ball=BALL, replays=0), "replays is 0"),
        (lambda: Free(ball=Ball("linf", 0)), "that is standard training"),
        (lambda: MART(ball=BALL, beta=-1.0), "beta is -1"),
        (lambda: AWP(objective=PGD(ball=BALL), gamma=0.0), "gamma is 0"),
        (lambda: KGB17(ball=BALL, fraction=0.0), "fraction is 0"),
        (lambda: Stability(sigma=0.0), "sigma is 0"),
        (lambda: InputGradient(weight=-1.0), "weight is -1"),
        (lambda: FGSMRS(ball=BALL, every=0), "every is 0"),
        (lambda: TRADES(ball=BALL, steps=0), "steps is 0"),
        (lambda: TRADES(ball=Ball("l2", 0)), "that is standard training"),
    ):
        with pytest.raises(InputError, match=words):
            make()
