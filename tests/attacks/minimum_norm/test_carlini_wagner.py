"""Carlini and Wagner's attacks beyond the contract: the linf one's thresholds, and what it refuses."""

from functools import cache

import pytest
import torch
from torch import Tensor

from epsball import Ball, Classifier, InputError, attack
from epsball.attacks import CarliniWagnerLinf
from helpers import Counter, Wrapped, examples, linear, mlp


def far_from_the_boundary(n=16):
    """Return a linear model of two classes, examples, labels and the least radii, from 0.03 on."""
    generator = torch.Generator().manual_seed(5)
    weight = torch.randn(2, 16, generator=generator)
    module = linear(weight, -0.5 * weight.sum(1))
    difference = weight[0] - weight[1]
    least = 0.03 + 0.17 * torch.rand(n, generator=generator, dtype=torch.float64)
    y = torch.arange(n) % 2
    away = (1 - 2 * y)[:, None] * difference.sign()
    x = (0.5 + least[:, None] * away).float()
    z = module(x).detach().double()
    return module, x, y, (z[:, 0] - z[:, 1]).abs() / difference.double().abs().sum()


LINF = "carlini-wagner-linf,steps=30"


@cache
def distances(norm: str, name: str) -> Tensor:
    """Return the distances found in the box [0, 1]."""
    module, x, y, _ = far_from_the_boundary()
    return attack(Classifier(module), x, y, Ball(norm, 0.25), method=name, stop="never").distance


def test_thresholds_close_in_on_the_least_radius_of_a_linear_model():
    """Tau falls by a tenth where it is met, so what is left after it is not met is a tenth, and Adam's swing."""
    *_, least = far_from_the_boundary()
    found = distances("linf", LINF)
    assert (found >= least * (1 - 1e-5)).all()
    assert (found <= least * 1.15).all()


def test_it_ends_when_the_constant_is_the_greatest():
    """With one step a pair and no point to find, the constants 1, 2, 4 and 8 are tried."""
    module, x, _ = mlp(), *examples(5)
    y = module(x).argmax(1)
    method = CarliniWagnerLinf(steps=1, step_size=1e-6, constant=1.0, largest=10.0)
    counter = Counter(module)
    result = attack(Classifier(module), x, y, Ball("linf", 1e-6), method=method, stop="never")
    assert result.ledger.summary()["carlini-wagner-linf"][1:] == (4 * 5, 4 * 5)
    assert counter.rows == result.ledger.passes[0]


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 0.125)])
@pytest.mark.parametrize(("norm", "name"), [("linf", LINF), ("l2", "carlini-wagner,searches=4,steps=60,constant=0.1")])
def test_the_unit_of_the_box_does_not_matter(norm, name, low, high):
    """The box [0, 255] is among the contract tests."""
    module, x, y, _ = far_from_the_boundary()
    scaled = Wrapped(lambda inner, z: inner((z - low) / (high - low)), module)
    ball = Ball(norm, 0.25 * (high - low), low=low, high=high)
    moved = (low + (high - low) * x).clamp(low, high)
    other = attack(Classifier(scaled, low=low, high=high), moved, y, ball, method=name, stop="never")
    assert distances(norm, name).isfinite().all()
    torch.testing.assert_close(other.distance / (high - low), distances(norm, name), rtol=0.05, atol=1e-4)


def test_without_a_box_the_points_themselves_are_moved():
    module, x, y, least = far_from_the_boundary()
    classifier = Classifier(module, low=None, high=None)
    ball = Ball("linf", 0.25, low=None, high=None)
    result = attack(classifier, x, y, ball, method=LINF, stop="never")
    assert (result.distance <= least * 1.15).all()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("steps", 0),
        ("step_size", 0.0),
        ("constant", -1.0),
        ("least", 0.0),
        ("least", 1.5),
        ("constant", 30.0),
        ("shrink", 1.0),
        ("confidence", -0.1),
    ],
)
def test_numbers_out_of_range_are_named(option, value):
    with pytest.raises(InputError, match=f"{option} is {value}"):
        CarliniWagnerLinf(**{option: value})
