"""Minimum-norm attacks: the nearest verified adversarial point counts wherever it lies in the box."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from epsball import Ball, Classifier, InputError, attack
from epsball.attacks import Attack
from epsball.attacks.engine.judge import Judge
from helpers import Wrapped, examples, linear, mlp


@dataclass(frozen=True, eq=False)
class Rays(Attack):
    """Evaluates points at growing lengths along given directions, from the farthest to the nearest."""

    direction: Tensor
    lengths: tuple[float, ...] = (0.8, 0.4, 0.2, 0.1, 0.05)
    domain: ClassVar[str] = "box"
    norms: ClassVar[tuple[str, ...]] = ("l2", "linf")
    name: ClassVar[str] = "rays"

    def points(self, x, index):
        return [x + length * self.direction[index] for length in self.lengths]

    def __call__(self, query, ball, *, keys):
        for i in range(len(self.lengths)):
            query.logits(self.points(query.x, query.index)[i])


@dataclass(frozen=True, eq=False)
class InTheBall(Rays):
    domain: ClassVar[str] = "ball"


def case(n=40):
    x, _ = examples(n)
    x = 0.3 + 0.4 * x
    generator = torch.Generator().manual_seed(3)
    direction = 0.4 * torch.randn(n, 16, generator=generator)
    return Classifier(mlp()), x, mlp()(x).argmax(1), Rays(direction)


@pytest.mark.parametrize("stop", ["first", "never"])
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_distance_is_that_of_the_nearest_adversarial_point_of_the_box(stop, norm):
    classifier, x, y, rays = case()
    ball = Ball(norm, 0.05)
    result = attack(classifier, x, y, ball, method=rays, stop=stop)
    expected = torch.full((len(x),), torch.inf, dtype=torch.float64)
    for points in rays.points(x, torch.arange(len(x))):
        hit = (classifier.logits(points).argmax(1) != y) & ball.in_box(points)
        expected = torch.where(hit, torch.minimum(expected, ball.distance(points, x)), expected)
    found = ~result.distance.isnan()
    assert 5 < int(found.sum()) < len(x)
    assert torch.equal(found, expected.isfinite())
    assert torch.equal(result.distance[found], expected[found])
    assert torch.equal(ball.distance(result.nearest, x)[found], expected[found])
    assert torch.equal(classifier.logits(result.nearest).argmax(1) != y, found)
    assert torch.equal(result.nearest[~found], x[~found])


def test_only_points_of_the_ball_are_witnesses():
    classifier, x, y, rays = case()
    result = attack(classifier, x, y, Ball("l2", 0.3), method=rays, stop="never")
    assert torch.equal(result.broken, result.distance <= 0.3)
    assert 0 < int(result.broken.sum()) < int((~result.distance.isnan()).sum())
    assert Ball("l2", 0.3).contains(result.x_adv, x).all()
    assert (result.margin[~result.broken] > 0).all()


def test_the_domain_of_an_attack_is_the_ball_unless_it_says_otherwise():
    classifier, x, y, rays = case()
    near = attack(classifier, x, y, Ball("l2", 0.3), method=InTheBall(rays.direction), stop="never")
    assert torch.equal(near.broken, ~near.distance.isnan())
    assert (near.distance[near.broken] <= 0.3).all()


def test_the_ledger_counts_the_same_passes_and_verification_apart():
    classifier, x, y, rays = case()
    result = attack(classifier, x, y, Ball("l2", 0.05), method=rays, stop="never")
    summary = result.ledger.summary()
    assert summary["rays"] == (40, 200, 0)
    assert result.ledger.passes[0] == classifier.passes.forward


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_what_the_canonical_pass_denies_falls_back_on_what_is_beyond_rounding(precision):
    weight = torch.zeros(2, 16)
    weight[0, 0], weight[1, 0] = 1.0, -1.0
    module = linear(weight, torch.tensor([-0.5, 0.5]))
    x = torch.full((30, 16), 0.75)
    x[:, 1:] = examples(30, (15,))[0]
    direction = torch.zeros(30, 16)
    direction[:, 0] = -1.0
    lengths = (0.4, 0.3, 0.2501, 0.25, 0.2499, 0.249, 0.24, 0.2)
    method = Rays(direction, lengths)
    result = attack(Classifier(module), x, torch.zeros(30, dtype=torch.int64), Ball("l2", 0.01), method=method,
                    precision=precision, stop="never")  # fmt: skip
    assert (result.distance >= 0.25 - 1e-7).all()
    assert (result.distance <= 0.3 + 1e-7).all()
    with Classifier(module).in_use():
        margin = Judge(Classifier(module)).margins(result.nearest, torch.zeros(30, dtype=torch.int64))
    assert (margin <= 0).all()


def test_a_model_that_fails_outside_the_ball_sets_nobody_aside():
    def spoilt(module, x):
        return torch.where(x[:, :1] > 0.8, torch.nan, module(x))

    x, _ = examples(40)
    x = 0.3 + 0.4 * x
    direction = torch.zeros(40, 16)
    direction[:, 0] = 1.0
    y = mlp()(x).argmax(1)
    result = attack(Classifier(Wrapped(spoilt, mlp())), x, y, Ball("l2", 0.05), method=Rays(direction), stop="never")
    assert not result.invalid


def test_distances_without_a_box():
    module = nn.Sequential(mlp())
    x, _ = examples(20)
    y = module(x).argmax(1)
    direction = torch.randn(20, 16, generator=torch.Generator().manual_seed(0))
    ball = Ball("l2", 0.1, None, None)
    result = attack(Classifier(module, low=None, high=None), x, y, ball, method=Rays(direction, (8.0,)))
    found = ~result.distance.isnan()
    assert found.any()
    assert (result.distance[found] > 8).all()


def test_a_ball_in_a_norm_the_attack_does_not_define_is_refused():
    classifier, x, y, rays = case()
    with pytest.raises(InputError, match="'rays' is defined for l2, linf; the ball is in l1"):
        attack(classifier, x, y, Ball("l1", 1), method=rays)
