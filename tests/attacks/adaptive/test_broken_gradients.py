"""The ensemble and the adaptive attack where gradients are zero, absent or wrong."""

import sys
from functools import cache

import pytest
import torch
from torch import nn

from epsball import Ball, Classifier, attack
from epsball.attacks import Adaptive, AttackResult, Ensemble, Transfer, gradient_facts
from epsball.attacks.parts.attack import Attack
from epsball.interface import command_line
from helpers import Wrapped, examples, mlp

BALL = Ball("linf", 0.2)
SMALL = {"ensemble": Ensemble(queries=60, most=4), "adaptive": Adaptive(queries=60, most=4)}


class Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 1 * x

    @staticmethod
    def backward(ctx, g):
        return g.flip(1)


class Constant(Reversed):
    @staticmethod
    def forward(ctx, x):
        return (8 * x).round() / 8

    @staticmethod
    def backward(ctx, g):
        return torch.ones_like(g)


DEFENCES = {
    "rounding": lambda module, x: module((8 * x).round() / 8),
    "detached": lambda module, x: module(x.detach()),
    "permuted": lambda module, x: module(Reversed.apply(x)),
    "constant": lambda module, x: module(Constant.apply(x)),
    "no_grad": lambda module, x: module((8 * x.data).floor() / 8).detach(),
}


class Facts(Attack):
    name = "facts"

    def __call__(self, query, ball, *, keys):
        self.found = gradient_facts(query, keys)


@cache
def case(defence: str, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """Return a defended network, examples and its predictions."""
    module = Wrapped(DEFENCES[defence], mlp().to(dtype))
    x = examples(16)[0].to(dtype)
    return module, x, module(x).argmax(1)


@cache
def searched(defence: str, name: str) -> AttackResult:
    module, x, y = case(defence)
    return attack(Classifier(module), x, y, BALL, method=SMALL[name], batch_size=9)


@cache
def honest() -> float:
    """Return the accuracy of the network without a defence."""
    module, x, _ = case("detached")
    return attack(Classifier(mlp().double()), x, module(x).argmax(1), BALL, method=SMALL["ensemble"]).accuracy


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("defence", DEFENCES)
def test_a_broken_gradient_hides_nothing(defence, name):
    module, _, y = case(defence)
    result = searched(defence, name)
    assert result.accuracy <= honest() + 0.1
    assert torch.equal(Classifier(module).logits(result.x_adv).argmax(1) != y, result.broken)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("defence", ["rounding", "constant"])
def test_order_and_batches_change_nothing(defence, name):
    module, x, y = case(defence)
    order = torch.arange(len(x)).flip(0)
    other = attack(Classifier(module), x[order], y[order], BALL, method=SMALL[name], batch_size=5)
    assert torch.equal(other.x_adv, searched(defence, name).x_adv[order])


def test_no_second_gradient_is_asked_of_an_example_whose_first_is_zero():
    result = searched("rounding", "ensemble")
    summary = result.ledger.summary()
    for name in ("apgd-ce", "apgd-rescaled-cross-entropy"):
        searched_examples, *passes = summary[name]
        assert passes == [searched_examples, searched_examples]
    assert not {"apgd-t", "shots"} & set(summary)


def test_every_pass_on_a_broken_model_stands_in_the_ledger_once():
    module, x, y = case("permuted")
    classifier = Classifier(module)
    ledger = attack(classifier, x[:4], y[:4], Ball("linf", 0.02), method=SMALL["ensemble"]).ledger
    assert ledger.passes == (classifier.passes.forward, classifier.passes.backward)
    rows = list(zip(ledger.index.tolist(), ledger.attack, ledger.restart.tolist(), strict=True))
    assert len(set(rows)) == len(rows)


@pytest.mark.parametrize(
    ("defence", "zero", "misleading"), [("rounding", 1, 0), ("permuted", 0, 1), ("detached", 1, 0)]
)
def test_facts_tell_zero_from_misleading(defence, zero, misleading):
    module, x, y = case(defence)
    facts = Facts()
    attack(Classifier(module), x, y, BALL, method=facts)
    assert float(facts.found.zero.double().mean()) == pytest.approx(zero, abs=0.1)
    assert float(facts.found.misleading.double().mean()) == pytest.approx(misleading, abs=0.15)
    assert facts.found.absent == (defence == "detached")


def test_a_permuted_gradient_never_agrees_by_luck():
    torch.manual_seed(0)
    module = Wrapped(lambda inner, x: inner(Reversed.apply(x)), nn.Linear(64, 5))
    x = torch.rand(500, 64)
    facts = Facts()
    attack(Classifier(module), x, module(x).argmax(1), Ball("linf", 0.05), method=facts)
    assert facts.found.misleading.all()


def test_an_honest_network_has_honest_facts():
    x, _ = examples(40)
    facts = Facts()
    attack(Classifier(mlp()), x, mlp()(x).argmax(1), Ball("linf", 0.05), method=facts)
    assert not facts.found.broken.any()


def test_operations_are_named():
    notes = searched("no_grad", "adaptive").notes
    assert any("surrogate gradients of" in note and "floor" in note for note in notes)


def test_random_models_get_averaged_gradients(monkeypatch):
    monkeypatch.setattr(sys.modules["epsball.attacks.composed.ensemble"], "SAMPLES", 3)
    module = Wrapped(lambda inner, x: inner(x + 0.2 * torch.randn_like(x)), mlp())
    x, _ = examples(3)
    classifier = Classifier(module, stochastic=True, repetitions=2)
    result = attack(classifier, x, mlp()(x).argmax(1), Ball("linf", 0.01), method=Ensemble(queries=5, most=1))
    _, _, backwards = result.ledger.summary()["apgd-ce"]
    assert backwards > 0
    assert backwards % 3 == 0


def test_a_transfer_is_tried_first():
    module, x, y = case("rounding")
    method = Adaptive(queries=60, most=4, transfer=Transfer(surrogate=Classifier(mlp().double()), method="pgd"))
    result = attack(Classifier(module), x, y, BALL, method=method)
    assert "transfer pgd-40" in result.by


def test_hints_name_what_works_in_the_language_of_the_interface():
    module, x, y = case("rounding")
    masked = attack(Classifier(module), x, y, BALL, method="pgd,steps=3")
    assert "input gradients were exactly zero on standing examples (pgd-3)" in str(masked)
    assert "method='adaptive'" in str(masked)
    assert "second-order" not in str(masked)
    with command_line():
        assert "--method adaptive" in str(masked)


def test_there_is_no_hint_where_nothing_stands():
    module, x, _ = case("rounding")
    y = (module(x).argmax(1) + 1) % 4
    assert "overstated" not in str(attack(Classifier(module), x, y, BALL, method="pgd,steps=3"))


@pytest.mark.parametrize("budget", [2, 60, 183])
def test_a_budget_holds_on_the_way(budget):
    module, x, y = case("permuted")
    result = attack(Classifier(module), x[:6], y[:6], Ball("linf", 0.02), method=SMALL["ensemble"], budget=budget)
    own = result.ledger.searching()
    spent = torch.zeros(6, dtype=torch.int64)
    spent.index_add_(0, result.ledger.index[own], (result.ledger.forwards + result.ledger.backwards)[own])
    assert (spent <= budget).all()
