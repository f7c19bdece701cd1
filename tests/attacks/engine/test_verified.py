"""What comes back is what the canonical pass says, whatever the search saw."""

import pytest
import torch
from torch import nn

from epsball import Ball, Classifier, InputError, ModelError, attack
from epsball.attacks import PGD, Attack, losses
from epsball.attacks.engine.judge import Judge
from helpers import Wrapped, examples, mlp

BALL = Ball("linf", 0.1)


@pytest.mark.parametrize("stop", ["first", "never"])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_margins_are_those_of_the_canonical_pass_at_the_points_returned(stop, precision):
    generator = torch.Generator().manual_seed(0)
    net = nn.Linear(16, 2)
    with torch.no_grad():
        net.weight.copy_(torch.randn(2, 16, generator=generator))
        net.weight[1] = net.weight[0] + 2e-3 * torch.randn(16, generator=generator)
    x, _ = examples(200)
    y = torch.randint(2, (200,), generator=generator)
    classifier = Classifier(net)
    method = PGD(steps=10, loss=lambda z, y: -losses.cross_entropy(z, y))
    result = attack(classifier, x, y, BALL, method=method, stop=stop, precision=precision)
    with classifier.in_use():
        margin = Judge(classifier).margins(result.x_adv, y)
    assert torch.equal(margin, result.margin)
    assert torch.equal(margin <= 0, result.broken)


def test_a_non_finite_gradient_is_counted_reported_and_does_not_stop_the_search():
    class Rooted(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x):
            return self.net(x) + 0 * (0 * x[:, :1]).sqrt()

    x, _ = examples(60)
    x[:, 0] = 0.3
    y = mlp()(x).argmax(1)
    for norm, radius in (("l2", 0.4), ("l1", 1), ("linf", 0.1)):
        ball = Ball(norm, radius)
        spoilt = attack(Classifier(Rooted()), x, y, ball, method="pgd,steps=15")
        clean = attack(Classifier(mlp()), x, y, ball, method="pgd,steps=15")
        assert spoilt.ledger.bad_gradients.sum() > 0
        assert "NaN or infinite" in str(spoilt)
        assert "NaN or infinite" not in str(clean)
        assert abs(spoilt.accuracy - clean.accuracy) < 0.2


def test_a_loss_may_depend_on_the_points():
    found = {}

    class Distance(Attack):
        name = "distance"

        def __call__(self, query, ball, *, keys):
            points = ball.at(query.x).project(query.x + 0.01)
            x = query.x

            def loss(logits, points, rows):
                return (points - x).flatten(1).pow(2).sum(1) + 0 * logits.sum(1)

            _, (value,), (gradient,) = query.gradient(points, [loss])
            found.update(value=value, gradient=gradient, expected=2 * (points - x))

    x, y = examples(20)
    y = mlp()(x).argmax(1)
    attack(Classifier(mlp()), x, y, BALL, method=Distance(), stop="never")
    torch.testing.assert_close(found["gradient"], found["expected"])


def test_all_rows_of_an_example_are_counted_and_examples_that_cannot_pay_leave():
    class Greedy(Attack):
        name = "greedy"

        def __call__(self, query, ball, *, keys):
            seen.append(len(query.x))
            rows = torch.cat([torch.zeros(4, dtype=torch.int64), torch.arange(len(query.x))])
            logits = query.logits(query.x[rows], rows)
            lost.append(int(logits.isnan().all(1).sum()))
            seen.append(len(query.x))
            query.logits(query.x)

    seen, lost = [], []
    x, _ = examples(20)
    y = mlp()(x).argmax(1)
    result = attack(Classifier(mlp()), x, y, BALL, method=Greedy(), budget=3)
    spent = result.ledger.forwards[result.ledger.of("greedy")]
    assert spent.max() <= 3
    assert seen == [20, 19]
    assert lost == [5]


def test_a_budget_too_small_for_one_call_is_reported():
    x, _ = examples(20)
    y = mlp()(x).argmax(1)
    result = attack(Classifier(mlp()), x, y, BALL, budget=1)
    assert "20 standing examples were not searched" in str(result)
    assert "not searched" not in str(attack(Classifier(mlp()), x, y, BALL))


def test_a_witness_is_kept_when_the_model_fails_elsewhere():
    class Both(Attack):
        name = "both"

        def __call__(self, query, ball, *, keys):
            query.logits(witnesses[query.index])
            query.logits(failing[query.index])

    def spoilt(module, x):
        return torch.where(x[:, :1] > 0.85, torch.nan, module(x))

    x, _ = examples(40)
    x[:, 0] = 0.5
    y = mlp()(x).argmax(1)
    ball = Ball("linf", 0.4)
    inner = attack(Classifier(mlp()), x, y, Ball("linf", 0.3))
    witnesses, failing = inner.x_adv, x.clone()
    failing[:, 0] = 0.9
    result = attack(Classifier(Wrapped(spoilt, mlp())), x, y, ball, method=Both(), stop="never")
    assert inner.broken.any()
    assert torch.equal(result.broken, inner.broken)
    assert set(result.invalid) == set(torch.nonzero(~inner.broken)[:, 0].tolist())


def test_ctrl_c_while_a_witness_is_recorded_leaves_a_consistent_result(monkeypatch):
    from epsball.attacks.engine.record import Record

    plain = Record._mark_broken
    calls = []

    def interrupted(self, owners, points):
        calls.append(len(owners))
        if len(calls) == 1:
            raise KeyboardInterrupt
        plain(self, owners, points)

    monkeypatch.setattr(Record, "_mark_broken", interrupted)
    classifier = Classifier(mlp())
    x, _ = examples(40)
    y = mlp()(x).argmax(1)
    with pytest.raises(KeyboardInterrupt) as stop:
        attack(classifier, x, y, Ball("linf", 0.3))
    result = stop.value.partial
    assert result.interrupted
    with classifier.in_use():
        assert torch.equal(Judge(classifier).margins(result.x_adv, y), result.margin)
    assert torch.equal(result.broken, result.margin <= 0)
    assert result.broken.any()


def test_logits_of_minus_infinity_mask_a_class():
    masked = Wrapped(lambda m, x: torch.cat([m(x), torch.full((len(x), 1), -torch.inf)], 1), mlp())
    x, _ = examples(40)
    y = mlp()(x).argmax(1)
    result = attack(Classifier(masked), x, y, BALL)
    assert not result.invalid
    assert torch.equal(result.broken, attack(Classifier(mlp()), x, y, BALL).broken)


def test_a_model_that_hands_out_one_buffer_again_and_again_is_judged_right():
    class Reusing(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.out = mlp(), torch.zeros(16, 4)

        def forward(self, x):
            z = self.net(x)
            return z if z.requires_grad or len(x) != 16 else self.out.copy_(z)

    x, y = examples(60)
    assert torch.equal(attack(Classifier(Reusing()), x, y, BALL).broken, attack(Classifier(mlp()), x, y, BALL).broken)


def test_a_search_in_bf16_takes_models_that_view_their_activations():
    class Viewing(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(256, 4)

        def forward(self, x):
            z = self.conv(x).relu()
            return self.head(z.view(z.size(0), -1))

    torch.manual_seed(0)
    net = Viewing()
    x, _ = examples(30, (3, 8, 8))
    y = net(x).argmax(1)
    result = attack(Classifier(net), x, y, Ball("linf", 0.2), precision="bf16")
    assert result.broken.any()
    assert net.conv.weight.is_contiguous()


def test_models_in_half_precision_are_refused_with_the_fix():
    x, y = examples(20)
    with pytest.raises(ModelError, match=r"module\.float\(\)"):
        attack(Classifier(mlp().half()), x, y, BALL)


def test_a_ball_without_box_does_not_fit_a_classifier_with_one():
    x, y = examples(20)
    with pytest.raises(InputError, match="no box"):
        attack(Classifier(mlp()), x, y, Ball("linf", 0.1, None, None))


@pytest.mark.parametrize("method", [PGD, None, 3])
def test_what_is_not_an_attack_is_refused(method, as_users_run):
    x, y = examples(20)
    with pytest.raises(InputError, match="give an attack"):
        attack(Classifier(mlp()), x, y, BALL, method=method)


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, True])
def test_a_seed_is_a_whole_number(seed, as_users_run):
    x, y = examples(20)
    with pytest.raises(InputError, match="seed is"):
        attack(Classifier(mlp()), x, y, BALL, seed=seed)


@pytest.mark.parametrize("rule", ["1/0", "1-2", "e", "1..2", "0*radius"])
def test_step_sizes_that_are_not_a_number_are_refused(rule):
    x, y = examples(20)
    with pytest.raises(InputError, match="step_size"):
        attack(Classifier(mlp()), x, y, BALL, method=PGD(step_size=rule))


def test_inputs_that_require_a_gradient_are_taken_as_values():
    x, y = examples(20)
    result = attack(Classifier(mlp()), x.requires_grad_(), y, BALL)
    assert not result.x_adv.requires_grad
    assert x.grad is None


def test_the_canonical_pass_sees_plain_strides():
    seen = set()
    module = Wrapped(lambda net, x: seen.add(x.stride()) or net(x), mlp(inputs=64))
    x = torch.rand(20, 8, 8, 1).permute(0, 3, 1, 2)
    classifier = Classifier(module)
    with classifier.in_use():
        Judge(classifier).logits(x)
    assert x.stride() != (64, 64, 8, 1)
    assert seen == {(64, 64, 8, 1)}
