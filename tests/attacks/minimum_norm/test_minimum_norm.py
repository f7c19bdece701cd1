"""Minimum-norm attacks beyond the contract: exact distances, restarts, refinement, and the ensemble."""

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from epsball import Ball, Classifier, InputError, attack
from epsball.attacks import FMN, PDPGD, Attack, MinimumNorm, TargetedFAB
from epsball.attacks.composed.minimum_norm import FromNearest
from epsball.attacks.engine.evaluator import FEWEST_ROWS
from helpers import Counter, examples, linear, mlp

NORMS = ("linf", "l2", "l1")


class Shell(nn.Module):
    """Class 1 outside the l2 ball of a radius around 0.5, class 0 inside: curved, no linearisation is exact."""

    radius = 0.5

    def forward(self, x: Tensor) -> Tensor:
        z = (x - 0.5).flatten(1).square().sum(1) - self.radius**2
        return torch.stack([-z, z], dim=1)


@dataclass(frozen=True)
class At(Attack):
    """Evaluates given points, then what is refined from them."""

    points: Tensor
    steps: int = 40
    domain: ClassVar[str] = "box"
    name: ClassVar[str] = "at"

    def __call__(self, query, ball, *, keys):
        query.logits(self.points[query.index])
        FromNearest(steps=self.steps)(query, ball, keys=keys)


def on_the_shell(n=20):
    x, _ = examples(n, (6,))
    x = 0.5 + 0.1 * (x - 0.5)
    return Classifier(Shell()), x, torch.zeros(n, dtype=torch.int64)


def test_refinement_slides_along_a_curved_boundary_to_its_nearest_point():
    """In l2 the nearest point of the sphere is at radius - norm(x - centre); the start is on the far side."""
    classifier, x, y = on_the_shell()
    centre, direction = 0.5, torch.nn.functional.normalize(x - 0.5, dim=1)
    far = torch.nn.functional.normalize(direction.roll(1, 1) + 0.5 * direction, dim=1)
    result = attack(classifier, x, y, Ball("l2", 0.1), method=At(centre + 0.6 * far), stop="never")
    least = Shell.radius - (x - centre).double().norm(dim=1)
    assert (Ball("l2", 1).distance(centre + 0.6 * far, x) > 1.2 * least).any()
    assert (result.distance >= least - 1e-6).all()
    assert (result.distance <= 1.08 * least).all()


def test_refinement_without_a_point_found_starts_at_the_example():
    classifier, x, y = on_the_shell()
    result = attack(classifier, x, y, Ball("l2", 0.1), method=At(x), stop="never")
    assert result.distance.isfinite().all()


@pytest.mark.parametrize("norm", NORMS)
def test_restarts_only_come_nearer_and_are_counted(norm):
    module = mlp()
    x, _ = examples(20)
    y = module(x).argmax(1)
    one, three = (
        attack(Classifier(module), x, y, Ball(norm, 0.5), method=FMN(steps=20, restarts=r), stop="never")
        for r in (1, 3)
    )
    assert (three.distance <= one.distance).all()
    assert (three.distance < one.distance).any()
    rows = three.ledger.to_arrow().to_pylist()
    assert {row["restart"] for row in rows if row["attack"] == "fmn"} == {0, 1, 2}


def ten_classes():
    module = mlp(classes=10)
    x, _ = examples(16, classes=10)
    return module, x, module(x).argmax(1)


@cache
def searched(norm: str, steps: int):
    """Return what the ensemble finds, and the forwards of the module."""
    module, x, y = ten_classes()
    counter = Counter(module)
    result = attack(Classifier(module), x, y, Ball(norm, 0.5), method=MinimumNorm(steps=steps), stop="never")
    return result, counter.rows


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("steps", [100, pytest.param(250, marks=pytest.mark.slow)])
def test_the_ensemble_spends_what_its_steps_say(norm, steps):
    """Two propagations per step for ten classes, up to what rounding down leaves over."""
    result, forwards = searched(norm, steps)
    rows = [row for row in result.ledger.to_arrow().to_pylist() if row["attack"].startswith(("fab", "fmn", "pdpgd"))]
    spent = sum(row["forwards"] + row["backwards"] for row in rows) / 16
    assert 1.8 * steps <= spent <= 2.04 * steps
    assert forwards >= sum(row["forwards"] for row in rows)


@pytest.mark.parametrize("norm", NORMS)
def test_the_ensemble_is_at_least_as_near_as_its_path(norm):
    """The first FMN or PDPGD of its stages draws nothing, so that alone it makes the same points."""
    module, x, y = ten_classes()
    ball, classifier = Ball(norm, 0.5), Classifier(module)
    whole = searched(norm, 100)[0].distance
    path = next(stage for stage in MinimumNorm(steps=100).stages(ball) if isinstance(stage, (FMN, PDPGD)))
    alone = attack(classifier, x, y, ball, method=type(path)(steps=path.steps), stop="never").distance
    assert (whole <= alone * (1 + 1e-3)).all()
    assert (whole < 0.999 * alone).any()


def test_too_few_steps_are_refused():
    with pytest.raises(InputError, match="steps is 39"):
        MinimumNorm(steps=39)


@pytest.mark.parametrize("name", ["targets", "steps", "restarts"])
def test_fab_t_refuses_counts_below_one(name):
    with pytest.raises(InputError, match=name):
        TargetedFAB(**{name: 0})


@dataclass(frozen=True)
class OnTheEdge(Attack):
    """Evaluates points that the search takes for adversarial and the canonical pass may not, and one far behind."""

    hit: Tensor
    far: Tensor
    domain: ClassVar[str] = "box"
    name: ClassVar[str] = "on the edge"

    def __call__(self, query, ball, *, keys):
        query.logits(self.far[query.index])
        query.logits(self.hit[query.index])


class Doubtful(nn.Module):
    """z_1 - z_0 = sum(x) - 1, lifted by 1e-6 except in batches of the canonical shape."""

    def __init__(self, canonical: int) -> None:
        super().__init__()
        self.canonical, self.layer = canonical, linear(torch.stack([torch.zeros(4), torch.ones(4)]), torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        lift = 0.0 if len(x) == self.canonical else 1e-6
        return self.layer(x) + torch.tensor([0.0, lift - 1.0])


def test_a_point_that_rounding_alone_made_adversarial_is_replaced_by_one_close_by():
    n = FEWEST_ROWS + 4
    x = torch.full((n, 4), 0.1)
    hit = torch.full((n, 4), 0.25 - 1e-7)
    far = torch.full((n, 4), 0.9)
    y = torch.zeros(n, dtype=torch.int64)
    result = attack(Classifier(Doubtful(FEWEST_ROWS)), x, y, Ball("l2", 0.01), method=OnTheEdge(hit, far), stop="never")
    assert (result.distance > 0.3 - 1e-6).all()
    assert (result.distance < 0.3 * 1.01).all()
