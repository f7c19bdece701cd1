import pytest
import torch

from epsball import Ball, Classifier, attack
from epsball.attacks import APGD, AutoAttack, RandomisedAutoAttack, Square, TargetedAPGD
from epsball.attacks.minimum_norm.fab import TargetedFAB
from helpers import Counter, Wrapped, examples, mlp


@pytest.mark.parametrize(("norm", "restarts", "targets"), [("linf", 1, 9), ("l2", 1, 9), ("l1", 5, 5)])
def test_the_composition_is_the_published_one(norm, restarts, targets):
    ce, targeted, fab, square = AutoAttack().stages(Ball(norm, 0.5))
    assert isinstance(ce, APGD)
    assert (ce.loss, ce.steps, ce.restarts) == ("cross-entropy", 100, restarts)
    assert isinstance(targeted, TargetedAPGD)
    assert (targeted.loss, targeted.steps, targeted.targets) == ("targeted-dlr", 100, targets)
    assert isinstance(fab, TargetedFAB)
    assert (fab.steps, fab.targets, fab.restarts) == (100, 9, 1)
    assert isinstance(square, Square)
    assert (square.queries, square.share, square.schedule, square.polish) == (5000, 0.8, 10_000, 0)


def test_the_randomised_composition_is_the_published_one():
    assert [stage.name for stage in RandomisedAutoAttack().stages(Ball("linf", 0.1))] == ["apgd-ce", "apgd-dlr"]
    assert RandomisedAutoAttack.samples == 20


def test_each_stage_is_counted_and_credited_under_its_own_name():
    module = mlp()
    x, _ = examples(40)
    y = module(x).argmax(1)
    counter = Counter(module)
    classifier = Classifier(module)
    result = attack(classifier, x, y, Ball("linf", 0.12), method="autoattack", budget=700)
    names = set(result.ledger.summary())
    assert {"apgd-ce", "apgd-t"} <= names
    assert "autoattack" not in names
    assert {name for name, broken in zip(result.by, result.broken.tolist(), strict=True) if broken} <= names
    assert all(name is None for name, broken in zip(result.by, result.broken.tolist(), strict=True) if not broken)
    assert result.ledger.passes == (counter.rows, classifier.passes.backward)
    passes = result.ledger.forwards + result.ledger.backwards
    own = torch.zeros(40, dtype=torch.int64).index_add(
        0, result.ledger.index[result.ledger.searching()], passes[result.ledger.searching()]
    )
    assert (own <= 700).all()


def test_gradients_of_a_random_model_are_averaged():
    classifier = Classifier(Wrapped(lambda m, x: m(x) + 0.1 * torch.randn(len(x), 4), mlp()), stochastic=True)
    x, _ = examples(6)
    y = mlp()(x).argmax(1)
    result = attack(classifier, x, y, Ball("linf", 0.01), method="autoattack-rand", budget=100)
    searched, forwards, backwards = result.ledger.summary()["apgd-ce"]
    assert searched > 0
    assert (forwards, backwards) == (searched * 40, searched * 40)
