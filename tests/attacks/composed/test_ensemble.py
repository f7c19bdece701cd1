import pytest
import torch

from epsball import Ball, Classifier, InputError, attack
from epsball.attacks import Ensemble, MultiStart, Shots
from epsball.attacks.parts.starts import block_corners
from epsball.randomness import Keys
from helpers import convnet, examples, linear, mlp


def case(n: int = 40):
    classifier = Classifier(mlp())
    x, _ = examples(n)
    return classifier, x, classifier.logits(x).argmax(1)


def test_an_undefended_model_costs_almost_nothing():
    classifier, x, y = case()
    result = attack(classifier, x, y, Ball("linf", 0.8), method="ensemble")
    assert result.broken.all()
    assert sum(result.ledger.passes) < 25 * len(x)


def test_the_cost_of_an_example_that_never_breaks_is_the_one_stated():
    weight = torch.zeros(10, 16)
    weight[0] = 1.0
    module = linear(weight, torch.zeros(10))
    x = torch.full((5, 16), 0.5)
    result = attack(Classifier(module), x, torch.zeros(5).long(), Ball("linf", 0.001), method="ensemble")
    assert not result.broken.any()
    own = result.ledger.searching()
    passes = (result.ledger.forwards + result.ledger.backwards)[own].sum()
    assert passes == 5 * (41 + 136 + 21 + 342 + 4 * 41)


@pytest.mark.parametrize(("share", "runs"), [(1.0, 4), (0.5, 8), (0.01, 20)])
def test_the_number_of_runs_follows_the_remaining_margin(share, runs):
    """A linear model whose margin falls exactly to `share` of the natural one at the corner of the ball."""
    module = linear(torch.tensor([[1.0], [0.0]]), torch.tensor([-0.4, 0.0]))
    x = torch.tensor([[0.9]])
    ball = Ball("linf", 0.5 * (1 - share))
    method = MultiStart(most=20, patience=3.0)
    result = attack(Classifier(module), x, torch.zeros(1).long(), ball, method=method)
    assert result.ledger.summary()["shots"] == (1, 21 * runs, 20 * runs)


def test_components_are_named_in_the_ledger_and_the_result():
    classifier, x, y = case()
    result = attack(classifier, x, y, Ball("linf", 0.1), method=Ensemble(queries=20, most=4))
    assert set(result.ledger.summary()) <= {
        "guards", "padding", "natural", "verification", "gradient check", "apgd-ce", "apgd-t", "square", "shots"
    }  # fmt: skip
    assert set(result.by) <= {None, "apgd-ce", "apgd-t", "square", "shots"}
    assert [by is not None for by in result.by] == result.broken.tolist()
    assert result.to_json()["by"] == list(result.by)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_block_corners_lie_in_the_ball_and_are_constant_on_blocks(norm):
    x = torch.full((3, 2, 8, 8), 0.5)
    ball = Ball(norm, 0.2)
    keys = Keys.of_positions(torch.arange(3), 0)
    for number, blocks in enumerate((7, 4, 2, 1)):
        points = block_corners(ball.at(x), keys, number)
        assert ball.contains(points, x).all()
        if 8 % blocks == 0:
            size = 8 // blocks
            tiles = points.unfold(2, size, size).unfold(3, size, size).flatten(4)
            assert (tiles == tiles[..., :1]).all()


def test_it_is_deterministic_on_images_and_leaves_no_trace():
    module = convnet()
    x, _ = examples(6, (1, 8, 8))
    y = Classifier(module).logits(x).argmax(1)
    method = Ensemble(queries=10, most=2)
    first, second = (attack(Classifier(module), x, y, Ball("l2", 0.2), method=method) for _ in range(2))
    assert torch.equal(first.x_adv, second.x_adv)
    assert list(first.by) == list(second.by)


@pytest.mark.parametrize("options", [{"queries": 0}, {"patience": 0.0}, {"most": -1}])
def test_bad_options_are_refused(options, as_users_run):
    with pytest.raises(InputError):
        Ensemble(**options)


def test_the_old_name_of_multi_start_stays():
    assert Shots is MultiStart
    assert MultiStart.name == "shots"
