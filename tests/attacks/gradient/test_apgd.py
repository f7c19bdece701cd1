import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from epsball import Ball, Classifier, InputError, attack
from epsball.attacks import APGD, PGD, TargetedAPGD
from epsball.attacks.auto_pgd.ascent import _shares, auto_pgd_ascent, l1_apgd_ascent
from epsball.attacks.auto_pgd.states import L1APGDState, checkpoints
from epsball.attacks.parts.objective import _comparable
from helpers import examples, mlp


def test_checkpoints_are_the_published_ones():
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(1000) == [220, 410, 570, 700, 800, 870, 930, 990]


class Hill:
    """The loss -abs(x - top), an objective without a query; rows leave once `leave` evaluations are made."""

    def __init__(self, top: float, leave: int = 10**9) -> None:
        self.top, self.leave, self.calls, self.seen = top, leave, 0, []

    def gradient(self, points):
        self.calls += 1
        self.seen.append(points.clone())
        going_on = torch.arange(1, len(points)) if self.calls == self.leave else None
        return -(points - self.top).abs().sum(1), (self.top - points).sign(), going_on

    def value(self, points):
        value, _, going_on = self.gradient(points)
        return value, going_on


def test_the_step_size_halves_until_the_top_of_a_hill_is_met():
    x = torch.full((3, 2), 0.5)
    neighbourhood = Ball("linf", 0.4).at(x)
    hill = Hill(0.6137)
    best = auto_pgd_ascent(hill, x.clone(), neighbourhood, 100, 0.8)
    assert hill.calls == 101
    torch.testing.assert_close(best, torch.full((3, 2), 0.6137), rtol=0, atol=0.02)


def test_the_first_step_has_no_momentum_and_the_second_has():
    x = torch.full((1, 2), 0.5)
    hill = Hill(2.0)
    auto_pgd_ascent(hill, x.clone(), Ball("linf", 0.4).at(x), 3, 0.1)
    first, second, third = (points[0, 0].item() for points in hill.seen[:3])
    assert (first, second) == pytest.approx((0.5, 0.6))
    assert third == pytest.approx(0.6 + 0.75 * 0.1 + 0.25 * 0.1)


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_rows_that_leave_take_their_state_with_them(norm):
    x = torch.linspace(0.3, 0.7, 4)[:, None].expand(4, 5).contiguous()
    ball = Ball(norm, {"l1": 0.5, "linf": 0.2}[norm])
    hill = Hill(0.9, leave=5)
    neighbourhood = ball.at(x)
    best = (
        l1_apgd_ascent(hill, x, neighbourhood, 20) if norm == "l1" else auto_pgd_ascent(hill, x, neighbourhood, 20, 0.4)
    )
    assert len(best) == 3
    assert ball.contains(best, x[1:]).all()


def test_l1_steps_move_few_coordinates():
    classifier = Classifier(mlp(inputs=64))
    x, _ = examples(20, (64,))
    y = classifier.logits(x).argmax(1)
    result = attack(classifier, x, y, Ball("l1", 0.8), method=APGD(steps=40), stop="never")
    assert ((result.x_adv != x).sum(1).double().median()) <= 12


def test_l1_goes_on_from_the_best_point_with_its_own_gradient():
    x = torch.full((2, 8), 0.5)
    dense, sparse = x + 0.1, x.clone()
    sparse[:, 0] = 0.9
    state = L1APGDState.begin(dense, torch.zeros(2), torch.ones(2, 8), Ball("l1", 1.0).at(x))
    state.update(sparse, torch.tensor([1.0, -1.0]), 2 * torch.ones(2, 8))  # better in the first row only
    state.update(dense, torch.tensor([0.5, -1.0]), 3 * torch.ones(2, 8))
    state.adapt(2)
    assert torch.equal(state.points, torch.stack([sparse[0], dense[1]]))
    assert torch.equal(state.gradient[:, 0], torch.tensor([2.0, 3.0]))


@given(st.integers(1, 1000))
def test_the_last_of_the_shrinking_balls_always_gets_steps(steps):
    shares = _shares(steps)
    assert sum(shares) == steps
    assert shares[-1] >= 1
    assert _shares(100) == [30, 30, 40]


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_few_l1_steps_end_in_the_ball(steps):
    classifier = Classifier(mlp())
    x, _ = examples(20)
    y = classifier.logits(x).argmax(1)
    result = attack(classifier, x, y, Ball("l1", 1.0), method=APGD(steps=steps), stop="never")
    assert (result.x_adv != x).any(1).double().mean() > 0.8


def test_a_loss_that_is_not_a_number_is_the_lowest():
    """Rows whose loss overflows in the search's precision ascend on from where it does not."""
    x = torch.full((2, 3), 0.5)

    class Overflowing(Hill):
        def gradient(self, points):
            value, gradient, going_on = super().gradient(points)
            return _comparable(torch.where(torch.tensor(self.calls == 1), torch.nan, value)), gradient, going_on

    best = auto_pgd_ascent(Overflowing(0.8), x.clone(), Ball("linf", 0.4).at(x), 50, 0.8)
    torch.testing.assert_close(best, torch.full((2, 3), 0.8), rtol=0, atol=0.03)


@pytest.mark.parametrize("ball", [Ball("linf", 0.1), Ball("l2", 0.4), Ball("l1", 1.0)], ids=str)
@pytest.mark.parametrize("loss", ["cross-entropy", "dlr", "margin", lambda z, y: -z.gather(1, y[:, None])[:, 0]])
def test_it_is_not_weaker_than_pgd(ball, loss):
    classifier = Classifier(mlp())
    x, _ = examples(40)
    y = classifier.logits(x).argmax(1)
    pgd = attack(classifier, x, y, ball, method=PGD(loss=loss, steps=30), stop="never")
    apgd = attack(classifier, x, y, ball, method=APGD(loss=loss, steps=30), stop="never")
    assert apgd.margin.mean() <= pgd.margin.mean() + 0.1 * pgd.margin.std()


def test_passes_are_those_stated():
    classifier = Classifier(mlp())
    x, _ = examples(20)
    y = classifier.logits(x).argmax(1)
    linf = attack(classifier, x, y, Ball("linf", 1e-4), method=APGD(steps=10, restarts=2), stop="never")
    assert linf.ledger.summary()["apgd-ce"] == (20, 2 * 11 * 20, 2 * 10 * 20)
    l1 = attack(classifier, x, y, Ball("l1", 1e-4), method=APGD(steps=10), stop="never")
    assert l1.ledger.summary()["apgd-ce"] == (20, 13 * 20, 10 * 20)
    targeted = attack(classifier, x, y, Ball("linf", 1e-4), method=TargetedAPGD(steps=10), stop="never")
    assert targeted.ledger.summary()["apgd-t"] == (20, (1 + 3 * 11) * 20, 3 * 10 * 20)


def test_a_budget_lets_some_rows_pay():
    classifier = Classifier(mlp())
    x, _ = examples(20)
    y = classifier.logits(x).argmax(1)
    for method in (APGD(steps=10), TargetedAPGD(steps=10)):
        result = attack(classifier, x, y, Ball("linf", 0.1), method=method, stop="never", budget=33)
        forwards, backwards = result.ledger.summary()[method.name][1:]
        assert 0 < forwards + backwards <= 33 * 20


@pytest.mark.parametrize("make", [lambda: APGD(steps=0), lambda: APGD(loss="hinge"), lambda: TargetedAPGD(loss="dlr")])
def test_bad_options_are_refused(make, as_users_run):
    with pytest.raises(InputError):
        make()
