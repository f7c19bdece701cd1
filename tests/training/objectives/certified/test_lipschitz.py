"""Lipschitz margin training: its constants, and what the trained network's certificates say."""

import pytest
import torch
from torch import nn

import epsball as eb
from epsball import Ball, InputError, UnsupportedOperation
from epsball.certificates import Domain, LiveNetwork, lipschitz_constants
from epsball.training import LipschitzMargin, Recipe
from epsball.training.objectives.certified.lipschitz_constant import hidden_constant
from helpers import mlp
from training.contexts import context
from training.objectives.certified.references import CLASSES, batch, differences, network, worst_case

pytestmark = pytest.mark.usefixtures("short_evaluations")

BALL = Ball("l2", 0.5)


def test_the_loss_is_that_of_the_formula():
    """Norms of the layers by singular values; values and gradients in float64."""
    module, (x, y) = network(batch_norm=False), batch()
    found = LipschitzMargin(ball=BALL)(module, x, y, context(len(x))).examples
    z = module(x)
    constant = torch.linalg.matrix_norm(module[1].weight, 2) * torch.linalg.matrix_norm(module[4].weight, 2)
    pairs = (differences(y) @ module[6].weight).norm(dim=2)
    margins = z.gather(1, y[:, None]) - z - 0.5 * constant * pairs
    expected = worst_case(margins, y)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    parameters = list(module.parameters())
    for a, b in zip(*(torch.autograd.grad(v.sum(), parameters) for v in (found, expected)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    assert z.shape[1] == CLASSES


@pytest.mark.parametrize("name", ["lipschitz_cnn,width=4,hidden=8", "cnn5,width=2,hidden=8", "mlp,hidden=8"])
def test_constants_are_below_the_verified_ones_and_near(name):
    """By construction, with batch norm, and with a sum of branches; convolutions are verified on a larger grid."""
    module = eb.models.load(name, shape=(1, 8, 8), classes=4).module.double().eval()
    live = LiveNetwork.of(module, (1, 8, 8))
    problem = live.problem(Domain.at(torch.rand(1, 1, 8, 8).double(), "l2"), torch.tensor([0]))
    state: dict = {}
    for _ in range(20):
        found, hidden = hidden_constant(live, problem.propagate(parameters=live.parameters()), state)
    verified = lipschitz_constants(live.graph, parameters=live.parameters()).forward[hidden]
    assert 0.6 * verified <= float(found.detach()) <= verified * (1 + 1e-9)


def test_directions_are_kept_between_steps():
    module, (x, y) = network(), batch()
    setting = context(len(x))
    LipschitzMargin(ball=BALL)(module, x, y, setting)
    kept = {name: v.clone() for name, v in setting.state["directions"].items()}
    assert len(kept) == 2
    LipschitzMargin(ball=BALL)(module, x, y, setting)
    assert setting.state["directions"].keys() == kept.keys()


def test_training_raises_certified_accuracy(as_users_run):
    recipe = Recipe(epochs=8, batch_size=50, optimiser="adam", lr=5e-3, weight_decay=0.0)
    x, y = eb.data.load("digits")[:150]
    found = []
    for objective in ("lipschitz", "standard"):
        trained = eb.train(mlp(64, 64, 10), "digits,first=700", objective=objective, ball=BALL, recipe=recipe)
        verdicts = eb.certify(trained.classifier, eb.data.as_pixels(x), y, BALL, method="lipschitz")
        found.append(float(verdicts.certified.double().mean()))
    assert found[0] > found[1] + 0.2


def test_what_it_is_not_for_is_refused():
    with pytest.raises(InputError, match="is for l2; the ball is linf"):
        LipschitzMargin(ball=Ball("linf", 0.1))
    with pytest.raises(InputError, match="'lipschitz' has none"):
        LipschitzMargin(ball=BALL, regulariser=0.5)
    squares = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), Square(), nn.Linear(8, 10))
    with pytest.raises(UnsupportedOperation, match="no finite Lipschitz constant"):
        eb.train(squares, "digits,first=200", objective="lipschitz", ball=BALL, recipe=Recipe(epochs=1, batch_size=50))


class Square(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * x
