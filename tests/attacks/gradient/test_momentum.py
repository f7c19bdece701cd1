import pytest
import torch

from epsball import Ball, Classifier, InputError, attack
from epsball.attacks import PGD, MomentumPGD
from epsball.attacks.gradient.momentum import accumulated
from helpers import examples, mlp


def test_gradients_accumulate_with_l1_length_one():
    gradients = iter([torch.tensor([[2.0, -2.0], [0.0, 0.0]]), torch.tensor([[0.0, 4.0], [1.0, 0.0]])])
    evaluate = accumulated(lambda points: (points.sum(1), next(gradients), None), 0.5)
    assert evaluate(torch.zeros(2, 2))[1].tolist() == [[0.5, -0.5], [0.0, 0.0]]
    assert evaluate(torch.zeros(2, 2))[1].tolist() == [[0.25, 0.75], [1.0, 0.0]]


def test_rows_that_leave_take_their_momentum_along():
    calls = iter([(torch.tensor([[1.0], [-1.0]]), torch.tensor([1])), (torch.tensor([[1.0]]), None)])

    def evaluate(points):
        gradient, going_on = next(calls)
        return points[:, 0], gradient, going_on

    momentum = accumulated(evaluate, 1.0)
    momentum(torch.zeros(2, 1))
    assert momentum(torch.zeros(1, 1))[1].tolist() == [[0.0]]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_without_decay_it_is_pgd(norm):
    classifier = Classifier(mlp())
    x, y = examples(20)
    ball = Ball(norm, 0.1)
    pgd = attack(classifier, x, y, ball, method=PGD(steps=5, start="none", step_size="radius/steps"), stop="never")
    same = attack(classifier, x, y, ball, method=MomentumPGD(steps=5, decay=0.0), stop="never")
    torch.testing.assert_close(same.x_adv, pgd.x_adv, atol=1e-5, rtol=0)


def test_bad_options_are_refused(as_users_run):
    with pytest.raises(InputError):
        MomentumPGD(decay=-1.0)
