"""Certified training as a whole: what it proves, and what it refuses before its first step."""

import warnings

import pytest
import torch
from torch import nn

import epsball as eb
from epsball import Ball, EpsballError, InputError, ModelError, UnsupportedOperation
from epsball.training import CROWNIBP, IBP, MTLIBP, SABR, Recipe
from helpers import Wrapped, convnet, mlp

pytestmark = pytest.mark.usefixtures("short_evaluations")

BALL = Ball("linf", 0.15)
RECIPE = Recipe(epochs=8, batch_size=50, optimiser="adam", lr=5e-3, weight_decay=0.0, warm_up=0.4)


def train(objective, module: nn.Module | None = None, recipe: Recipe = RECIPE, data="digits,first=700") -> eb.Training:
    return eb.train(module or mlp(64, 64, 10), data, objective=objective, ball=BALL, recipe=recipe)


def certified(training: eb.Training) -> float:
    x, y = eb.data.load("digits")[:150]
    found = eb.certify(training.classifier, eb.data.as_pixels(x), y, BALL, method="crown-ibp")
    return float(found.certified.double().mean())


@pytest.mark.parametrize("text", ["ibp", "crown-ibp,fusion=loss", "sabr,steps=2", "mtl-ibp,steps=2"])
def test_training_raises_certified_accuracy(text, as_users_run):
    assert certified(train(text)) > certified(train("standard")) + 0.08


def test_the_initialisation_happens_once(tmp_path, as_users_run):
    """A run that is resumed keeps its weights; a fresh one of any start has the same."""
    objective = IBP(ball=BALL, initialisation="ibp", regulariser=0.5)
    runs = [
        train(objective, mlp(64, 16, 10, seed=seed), Recipe(epochs=1, batch_size=50, warm_up=0.5)) for seed in (0, 1)
    ]
    first, other = (run.classifier.module[1].weight.detach() for run in runs)
    assert float((first - other).norm()) < 0.5 * float(first.norm())


def test_gradients_are_clipped():
    module = mlp(64, 16, 10)
    before = module[1].weight.detach().clone()
    recipe = Recipe(
        epochs=1, batch_size=630, optimiser="sgd", lr=1.0, momentum=0.0, weight_decay=0.0, schedule="constant"
    )
    train(IBP(ball=BALL, kappa=0.0, clip=1e-3), module, recipe)
    assert 0 < float((module[1].weight.detach() - before).norm()) <= 1e-3 * 1.01


class Loud(nn.Module):
    """Many layers whose intervals grow by a large factor each."""

    def __init__(self, depth: int, gain: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(depth))
        self.last = nn.Linear(64, 10)
        with torch.no_grad():
            for layer in self.layers:
                layer.weight *= gain

    def forward(self, x):
        x = x.flatten(1)
        for layer in self.layers:
            x = torch.relu(layer(x))
        return self.last(x)


def test_bounds_that_overflow_are_said_with_the_mend():
    with pytest.raises(
        InputError, match=r"not finite: intervals overflow in .*\. Let the radius rise .*initialisation=ibp"
    ):
        train(IBP(ball=BALL, kappa=0.0), Loud(36, 10.0))
    with pytest.warns(UserWarning, match="its bounds say nothing yet. Let the radius rise"):
        train(IBP(ball=BALL, kappa=0.0), Loud(6, 10.0), Recipe(epochs=1, batch_size=60))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(IBP(ball=BALL, kappa=0.0, initialisation="ibp"), Loud(6, 10.0), Recipe(epochs=1, batch_size=60, lr=1e-3))


def test_a_loss_that_is_not_finite_names_the_mend():
    with pytest.raises(EpsballError, match=r"training diverged\. Let the radius rise"):
        train(IBP(ball=BALL, clip=0.0), recipe=Recipe(epochs=1, batch_size=60, lr=1e30))


def fourier(net, x):
    return net(torch.fft.rfft2(x).abs().flatten(1))


@pytest.mark.parametrize("name", ["ibp", "crown-ibp", "sabr", "mtl-ibp"])
def test_an_operation_without_rule_is_named_before_training(name):
    with pytest.raises(UnsupportedOperation, match=r"fft.*in .*attacks only"):
        train(name, Wrapped(fourier, nn.Linear(40, 10)))


def test_one_row_with_batch_norm_is_refused():
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 10))
    with pytest.raises(InputError, match="fails on a single row"):
        train("ibp", module, Recipe(epochs=1, batch_size=1))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: IBP(ball=Ball("linf", 0)), "that is standard training"),
        (lambda: IBP(ball=BALL, kappa=1.5), "kappa is 1.5; it is a weight"),
        (lambda: IBP(ball=BALL, hold=1.0), "hold is 1.0"),
        (lambda: IBP(ball=BALL, ramp="cubic"), "unknown ramp"),
        (lambda: IBP(ball=BALL, initialisation="idp"), "Did you mean 'ibp'"),
        (lambda: IBP(ball=BALL, regulariser=-1.0), "regulariser is -1"),
        (lambda: IBP(ball=BALL, tolerance=0.0), "tolerance is 0"),
        (lambda: CROWNIBP(ball=BALL, beta=2.0), "beta is 2"),
        (lambda: CROWNIBP(ball=BALL, fusion="all"), "unknown fusion"),
        (lambda: SABR(ball=BALL, subselection=0.0), "use the objective 'pgd'"),
        (lambda: MTLIBP(ball=BALL, alpha=-0.1), "alpha is -0.1"),
        (lambda: MTLIBP(ball=BALL, steps=0), "steps is 0"),
    ],
)
def test_bad_options_are_explained(make, words, as_users_run):
    with pytest.raises(InputError, match=words):
        make()


@pytest.mark.parametrize(
    ("objective", "recipe", "words"),
    [
        (IBP(ball=Ball("linf", 1)), RECIPE, r"radius of linf:1 .* only a constant classifier"),
        (IBP(ball=Ball("l2", 8)), RECIPE, r"of 64 numbers is wide \(8 in l2\)"),
        (IBP(ball=BALL), Recipe(epochs=1, compile=True), "leave compile out"),
        (IBP(ball=BALL, regulariser=0.5), Recipe(epochs=1), "warm_up is 0: it acts only while the radius rises"),
        (IBP(ball=BALL, hold=0.1), Recipe(epochs=1), "hold is 0.1, but warm_up is 0"),
        (CROWNIBP(ball=BALL, fusion="loss"), Recipe(epochs=1, label_smoothing=0.1), "fusion=loss bounds the loss"),
    ],
)
def test_options_that_exclude_each_other_are_refused(objective, recipe, words):
    with pytest.raises(InputError, match=words):
        eb.train(convnet(classes=10), "digits,first=200", objective=objective, recipe=recipe)


def test_a_schedule_longer_than_the_training_is_refused():
    with pytest.raises(InputError, match=r"warm_up is 20.*share of the steps.*20 of 70 epochs"):
        Recipe(epochs=70, warm_up=20.0)


def test_an_average_that_begins_in_the_warm_up_is_said():
    with pytest.warns(UserWarning, match="swa begins at 0.2 of the run, while the radius rises until 0.5"):
        train("ibp", recipe=Recipe(epochs=2, batch_size=200, swa=0.2, warm_up=0.5, lr=1e-3))


def test_regularisers_need_rectifiers_and_the_initialisation_needs_weights():
    smooth = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 10))
    with pytest.raises(InputError, match="no rectifier"):
        train(IBP(ball=BALL, regulariser=0.5), smooth)
    tied = nn.Sequential(
        nn.Flatten(), nn.utils.parametrizations.orthogonal(nn.Linear(64, 8)), nn.ReLU(), nn.Linear(8, 10)
    )
    with pytest.raises(InputError, match="cannot be set. Leave initialisation=keep"):
        train(IBP(ball=BALL, initialisation="ibp"), tied)


def test_awp_does_not_wrap_bounds(as_users_run):
    with pytest.raises(InputError, match="awp cannot wrap"):
        eb.training.resolve("awp,objective=ibp", BALL)


def test_weights_computed_in_the_code_are_refused():
    class Scaled(nn.Conv2d):
        def forward(self, x):
            return nn.functional.conv2d(x, self.weight / self.weight.norm(), self.bias)

    module = nn.Sequential(Scaled(1, 2, 3), nn.Flatten(), nn.Linear(72, 10))
    with pytest.raises(ModelError, match="bounds cannot train '.*0.weight'"):
        train("ibp", module)


def test_the_plan_counts_the_passes_of_bounds():
    """The batch itself, and intervals: two passes forward and two back."""
    recipe = Recipe(epochs=1, batch_size=50)
    plan = eb.training.plan(mlp(64, 16, 10), "digits,first=200", objective="ibp", ball=BALL, recipe=recipe)
    assert (plan.forward, plan.backward) == (3.0, 3.0)
