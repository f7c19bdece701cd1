"""What every registered attack must satisfy."""

import pytest
import torch

from epsball import Ball, Classifier, attack
from epsball.attacks import ATTACKS
from helpers import Counter, convnet, examples, mlp

BALLS = [Ball("linf", 0.15), Ball("l2", 0.6), Ball("l1", 1.5)]

pytestmark = pytest.mark.parametrize("name", ATTACKS)


def case(dtype=torch.float32, n=40):
    module = mlp().to(dtype)
    x, _ = examples(n)
    x = x.to(dtype)
    return module, x, module(x).argmax(1)


@pytest.mark.parametrize("ball", BALLS, ids=str)
def test_witnesses_lie_in_the_ball_and_are_misclassified(name, ball):
    module, x, y = case()
    result = attack(Classifier(module), x, y, ball, method=name)
    assert result.broken.any()
    assert ball.contains(result.x_adv, x).all()
    assert torch.equal(Classifier(module).logits(result.x_adv).argmax(1) != y, result.broken)


@pytest.mark.parametrize("stop", ["first", "never"])
def test_the_same_call_gives_the_same_points(name, stop):
    module, x, y = case()
    first, second = (attack(Classifier(module), x, y, BALLS[0], method=name, stop=stop) for _ in range(2))
    assert torch.equal(first.x_adv, second.x_adv)


def test_batching_and_order_change_nothing_in_float64(name):
    module, x, y = case(torch.float64)
    whole = attack(Classifier(module), x, y, BALLS[0], method=name, stop="never")
    order = torch.arange(len(x)).flip(0)
    other = attack(Classifier(module), x[order], y[order], BALLS[0], method=name, stop="never", batch_size=9)
    torch.testing.assert_close(other.margin, whole.margin[order], rtol=0, atol=1e-9)


def test_there_is_no_trace_on_the_model(name):
    module = convnet().train()
    x, y = examples(20, (1, 8, 8))
    before = {key: value.clone() for key, value in module.state_dict().items()}
    generator = torch.get_rng_state()
    attack(Classifier(module), x, y, BALLS[0], method=name)
    assert all(part.training for part in module.modules())
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    assert torch.equal(generator, torch.get_rng_state())


def test_every_pass_stands_in_the_ledger(name):
    module, x, y = case()
    counter = Counter(module)
    classifier = Classifier(module)
    result = attack(classifier, x, y, BALLS[0], method=name, batch_size=18)
    assert result.ledger.passes == (counter.rows, classifier.passes.backward)


@pytest.mark.parametrize("classes", [2, 3, 1000])
@pytest.mark.parametrize("shape", [(7,), (3, 5, 4), (2, 3)])
def test_any_shape_and_number_of_classes(name, classes, shape):
    inputs = int(torch.tensor(shape).prod())
    module = mlp(inputs=inputs, classes=classes)
    x, _ = examples(11, shape)
    y = module(x).argmax(1)
    result = attack(Classifier(module), x, y, Ball("linf", 0.5), method=name, batch_size=4, stop="never")
    natural = attack(Classifier(module), x, y, Ball("linf", 0), method=name)
    assert result.x_adv.shape == x.shape
    assert (result.margin <= natural.margin).all()
    assert (result.margin < natural.margin - 0.01).double().mean() > 0.5
