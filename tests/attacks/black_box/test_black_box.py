"""SPSA, NES, HopSkipJump and Transfer: no gradient of the model under test."""

import pytest
import torch

from epsball import Ball, Classifier, InputError, ModelError, attack
from epsball.attacks import ATTACKS, NES, PGD, SPSA, Attack, Collision, HopSkipJump, Transfer
from epsball.attacks.black_box.finite_differences import estimate, gaussian, rademacher
from epsball.attacks.losses import margin
from helpers import Wrapped, examples, linear, mlp

QUICK = [
    SPSA(steps=25, pairs=16, learning_rate=0.03),
    NES(steps=25, pairs=16),
    HopSkipJump(iterations=5, first_queries=40),
]


def opaque() -> Wrapped:
    """Return a network through which no gradient passes."""
    return Wrapped(lambda module, x: module(x.detach()).detach(), mlp())


@pytest.mark.parametrize("method", QUICK, ids=lambda method: method.name)
def test_they_break_what_passes_no_gradient(method):
    x, _ = examples(20)
    y = mlp()(x).argmax(1)
    result = attack(Classifier(opaque()), x, y, Ball("linf", 0.3), method=method)
    assert result.accuracy <= 0.5
    assert result.ledger.backwards.sum() == 0


GO_ON = ("ensemble", "adaptive")
"""Attacks that go on where there is no gradient, with what needs none."""


@pytest.mark.parametrize(
    "name", [name for name, kind in ATTACKS.items() if not kind.gradient_free if name not in GO_ON]
)
def test_a_gradient_attack_on_such_a_model_is_an_error_that_names_the_others(name):
    x, _ = examples(20)
    y = mlp()(x).argmax(1)
    ball = Ball(ATTACKS[name].norms[0], 0.3)
    with pytest.raises(ModelError, match="no gradient reaches the input.*Gradient-free: .*spsa, nes, hop-skip-jump"):
        attack(Classifier(opaque()), x, y, ball, method=name)


def test_every_attack_that_claims_to_need_no_gradient_uses_none():
    x, _ = examples(3)
    y = mlp()(x).argmax(1)
    claimed = [kind for kind in ATTACKS.values() if kind.gradient_free]
    assert {SPSA, NES, HopSkipJump} <= set(claimed)
    for kind in claimed:
        attack(Classifier(opaque()), x, y, Ball("linf", 0.3), method=kind(), budget=150)


@pytest.mark.parametrize("directions", [rademacher, gaussian])
def test_the_estimate_is_the_gradient_of_a_linear_loss_on_average(directions):
    weight = torch.randn(2, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = {}

    class Probe(Attack):
        name = "probe"

        def __call__(self, query, ball, *, keys):
            found["g"], found["kept"] = estimate(
                query, margin, query.x, keys, directions=directions, scale=0.01, pairs=4000
            )

    x, _ = examples(4, (6,))
    module = linear(weight, torch.tensor([0.0, 0.0], dtype=torch.float64))
    y = module(x.double()).argmax(1)
    attack(Classifier(module), x.double(), y, Ball("linf", 0), method=Probe(), stop="never")
    sign = (1 - 2 * y)[:, None]
    expected = sign * (weight[1] - weight[0])
    assert torch.equal(found["kept"], torch.arange(4))
    torch.testing.assert_close(found["g"], expected, rtol=0.15, atol=0.15)


def test_the_norms_they_do_not_define_are_named():
    x, _ = examples(4)
    y = mlp()(x).argmax(1)
    with pytest.raises(InputError, match="'hop-skip-jump' is defined for linf, l2; the ball is in l1"):
        attack(Classifier(mlp()), x, y, Ball("l1", 1), method=HopSkipJump())
    with pytest.raises(InputError, match="starts from noise in the box"):
        attack(Classifier(mlp(), low=None, high=None), x, y, Ball("l2", 1, None, None), method=HopSkipJump())


def test_hop_skip_jump_comes_near_the_least_distance_of_a_linear_model():
    generator = torch.Generator().manual_seed(5)
    weight = torch.randn(2, 16, generator=generator)
    module = linear(weight, -0.5 * weight.sum(1))
    x = 0.5 + 0.02 * torch.randn(20, 16, generator=generator)
    y = module(x).argmax(1)
    z = module(x).detach().double()
    least = (z[:, 0] - z[:, 1]).abs() / (weight[0] - weight[1]).double().norm()
    method = HopSkipJump(iterations=8)
    result = attack(Classifier(module), x, y, Ball("l2", 1e-6), method=method, stop="never")
    assert (result.distance >= least * (1 - 1e-5)).all()
    assert (result.distance <= 1.15 * least).all()


def test_an_example_without_a_start_leaves_the_others_their_budget():
    """Noise is of the bright class nearly always, so that the bright example spends all it has on starts."""
    weight = torch.stack([-torch.ones(36), torch.ones(36)])
    module = linear(weight, torch.tensor([9.0, -9.0]))
    x = 0.3 * examples(4, (36,))[0]
    x[3] += 0.6
    y = module(x).argmax(1)
    assert y.tolist() == [0, 0, 0, 1]
    method = HopSkipJump(iterations=2, first_queries=10)
    together, apart = (
        attack(Classifier(module), x, y, Ball("linf", 0.1), method=method, budget=50, stop="never", batch_size=size)
        for size in (4, 1)
    )
    assert torch.equal(together.distance[:3], apart.distance[:3])
    assert together.distance[3].isnan()


@pytest.mark.parametrize("method", QUICK, ids=lambda method: method.name)
def test_nan_logits_set_the_example_aside_and_the_others_go_on(method):
    """The first pixel of example 3 stands on an island: every other value near it gives NaN."""
    x, _ = examples(12)
    x[:, 0] = 0.3
    x[3, 0] = 0.75
    module = Wrapped(lambda inner, z: torch.where((z[:, :1] > 0.5) & (z[:, :1] != 0.75), torch.nan, inner(z)), mlp())
    y = mlp()(x).argmax(1)
    result = attack(Classifier(module), x, y, Ball("linf", 0.1), method=method, stop="never")
    others = [i for i in range(12) if i != 3]
    assert set(result.invalid) == ({3} if method.name != "hop-skip-jump" else set(result.invalid) & {3})
    assert not result.margin[others].isnan().any()
    assert result.broken[others].any()


def test_transfer_tries_the_points_of_the_surrogate_and_leaves_no_trace_on_it():
    x, _ = examples(30)
    target, surrogate = mlp(), Classifier(mlp(seed=0).train())
    y = target(x).argmax(1)
    ball = Ball("linf", 0.2)
    same = attack(Classifier(target), x, y, ball, method=Transfer(surrogate=surrogate, method="pgd,steps=20"))
    direct = attack(Classifier(target), x, y, ball, method=PGD(steps=20), stop="never")
    assert same.accuracy == direct.accuracy
    assert same.ledger.summary()["transfer pgd-20"] == (30, 30, 0)
    assert surrogate.passes.backward >= 30 * 20
    assert surrogate.module.training
    other = attack(Classifier(target), x, y, ball, method=Transfer(surrogate=Classifier(mlp(seed=9))))
    assert direct.accuracy <= other.accuracy


def test_a_surrogate_of_other_classes_or_kind_is_an_error(as_users_run):
    x, _ = examples(4)
    y = mlp()(x).argmax(1)
    with pytest.raises(InputError, match="has 3 classes, the model 4"):
        attack(Classifier(mlp()), x, y, Ball("linf", 0.1), method=Transfer(surrogate=Classifier(mlp(classes=3))))
    with pytest.raises(InputError, match="give a Classifier"):
        Transfer(surrogate=mlp())


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_a_surrogate_may_have_another_dtype(norm):
    """Its numbers on the surface of the ball are not the model's."""
    x, _ = examples(40)
    y = mlp()(x).argmax(1)
    ball = Ball(norm, {"linf": 0.1, "l2": 0.3, "l1": 0.8}[norm])
    same, other = (
        attack(Classifier(mlp()), x, y, ball, method=Transfer(surrogate=Classifier(surrogate)))
        for surrogate in (mlp(), mlp().double())
    )
    assert same.broken.any()
    assert other.broken.sum() >= same.broken.sum() - 2


@pytest.mark.parametrize("method", ["fmn,steps=20,restarts=2", "minimum-norm,steps=40"])
def test_the_surrogate_may_be_searched_for_minimum_norms(method):
    x, _ = examples(10)
    y = mlp()(x).argmax(1)
    result = attack(
        Classifier(mlp()), x, y, Ball("linf", 0.3), method=Transfer(surrogate=Classifier(mlp()), method=method)
    )
    assert result.broken.any()


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda inner, x: inner(x).detach(), "of the surrogate: no gradient reaches the input"),
        (lambda inner, x: inner(x) * torch.nan, "of the surrogate: logits are NaN"),
        (lambda inner, x: inner(x).softmax(1), "of the surrogate: .* probabilities"),
    ],
)
def test_a_surrogate_that_is_not_a_classifier_is_named(function, words):
    x, _ = examples(4)
    y = mlp()(x).argmax(1)
    surrogate = Classifier(Wrapped(function, mlp()))
    with pytest.raises(ModelError, match=words):
        attack(Classifier(mlp()), x, y, Ball("linf", 0.1), method=Transfer(surrogate=surrogate))


@pytest.mark.parametrize("kind", ["collision", "transfer"])
def test_attacks_that_hold_objects_keep_the_contract(kind):
    module = mlp().double()
    x, y = examples(30)
    x, pool = x.double(), (examples(200, seed=2)[0].double(), examples(200, seed=3)[1])
    ball = Ball("linf", 0.3)
    method = Collision(pool=pool) if kind == "collision" else Transfer(surrogate=Classifier(mlp(seed=7).double()))
    generator = torch.get_rng_state()
    whole = attack(Classifier(module), x, y, ball, method=method, stop="never")
    order = torch.arange(len(x)).flip(0)
    other = attack(Classifier(module), x[order], y[order], ball, method=method, stop="never", batch_size=9)
    assert ball.contains(whole.x_adv, x).all()
    torch.testing.assert_close(other.margin, whole.margin[order], rtol=0, atol=1e-9)
    assert torch.equal(generator, torch.get_rng_state())
    none = attack(Classifier(module), x, y, Ball("linf", 0), method=method)
    assert torch.equal(none.broken, module(x).argmax(1) != y)
