"""What models are handed is laid out like torch.rand of its shape and was not made in inference mode."""

import copy

import pytest
import torch
from torch import nn

import epsball as eb
from epsball import Ball, Classifier, ModelError
from epsball.pixels import from_8bit
from epsball.plain import plain
from helpers import Wrapped, convnet, examples, mlp

SHAPES = [(20, 1, 8, 8), (20, 3, 8, 8), (20, 16)]


def strided(shape: tuple[int, ...]) -> torch.Tensor:
    """Return random inputs in the strides of channels last."""
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    return x.movedim(1, -1).clone(memory_format=torch.contiguous_format).movedim(-1, 1)


class Viewing(nn.Module):
    """Notes the strides of its inputs outside its attributes; ends its convolution with a view."""

    def __init__(self, shape: tuple[int, ...], seen: set) -> None:
        super().__init__()
        self.note = Wrapped(lambda _, x: seen.add(x.stride() == torch.rand(x.shape).stride()))
        self.body = nn.Conv2d(shape[1], 4, 3) if len(shape) == 4 else nn.Identity()
        self.head = nn.Linear(144 if len(shape) == 4 else 16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.note(x)
        z = self.body(x)
        return self.head(z.view(len(z), -1))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_pillar_hands_plain_inputs_to_the_module(shape):
    seen: set[bool] = set()
    module, x = Viewing(shape, seen), strided(shape)
    y = torch.arange(20) % 4
    classifier = Classifier(module)
    result = eb.attack(classifier, x, y, Ball("linf", 0.02), method="apgd,steps=3")
    assert result.x_adv.stride() == torch.rand(shape).stride()
    eb.attack(classifier, x, y, Ball("l2", 0.2), method="fab-t,steps=2")
    classifier(x)
    eb.cka(classifier, module, x)
    eb.certify(classifier, x, y, Ball("linf", 0.001), method="interval")
    eb.audit(classifier, (x, y), Ball("linf", 0.01), attack="fgsm", certificates="none", limit=False)
    assert seen == {True}


@pytest.mark.parametrize("shape", SHAPES)
def test_plain_changes_no_value_and_copies_only_where_it_must(shape):
    x = strided(shape)
    assert torch.equal(plain(x), x)
    once = plain(x)
    assert once.stride() == torch.rand(shape).stride()
    assert plain(once) is once
    y = torch.rand(shape)
    assert plain(y) is y


def test_data_sets_give_plain_images():
    x = strided((20, 1, 8, 8))
    taken, _ = eb.data.load((x, torch.arange(20) % 4))[3:9]
    assert torch.equal(taken, x[3:9])
    assert taken.stride() == torch.rand(6, 1, 8, 8).stride()


def test_8_bit_pixels_go_straight_into_every_verb():
    x = torch.randint(0, 256, (20, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    floats, y, ball = from_8bit(x), torch.arange(20) % 4, Ball("linf", "2/255")
    classifier = Classifier(convnet())
    found, expected = (eb.attack(classifier, data, y, ball, method="pgd,steps=3") for data in (x, floats))
    assert torch.equal(found.x_adv, expected.x_adv)
    bounds, wanted = (eb.certify(classifier, data, y, ball, method="interval") for data in (x, floats))
    assert torch.equal(bounds.margin, wanted.margin)
    options = {"attack": "fgsm", "certificates": "none", "limit": False}
    one, two = (eb.audit(classifier, (data, y), ball, **options).evidence for data in (x, floats))
    assert one.equals(two)
    assert torch.equal(eb.cka(classifier, classifier, x).matrix, eb.cka(classifier, classifier, floats).matrix)


def made_in_inference_mode(build) -> nn.Module:
    with torch.inference_mode():
        return build()


@pytest.mark.parametrize("build", [mlp, lambda: nn.Sequential(mlp(), nn.BatchNorm1d(4)), lambda: nn.LSTM(16, 4)])
def test_modules_made_in_inference_mode_work_and_keep_their_flags(build):
    module = made_in_inference_mode(build)
    recurrent = isinstance(module, nn.LSTM)
    wrapped = Wrapped(lambda m, x: m(x)[0], module) if recurrent else module
    next(module.parameters()).requires_grad_(False)
    flags = [p.requires_grad for p in module.parameters()]
    ordinary = copy.deepcopy(wrapped)
    x, _ = examples(20)
    y = Classifier(ordinary)(x).argmax(1)
    found, expected = (
        eb.attack(Classifier(m, mean=0.5, std=0.3), x, y, Ball("linf", 0.1), method="pgd,steps=3")
        for m in (wrapped, ordinary)
    )
    assert torch.equal(found.x_adv, expected.x_adv)
    assert [p.requires_grad for p in module.parameters()] == flags
    assert all(p.is_inference() for p in module.parameters())


def test_what_else_was_made_in_inference_mode_works():
    module = made_in_inference_mode(mlp)
    with torch.inference_mode():
        x, y = torch.rand(20, 16), torch.arange(20) % 4
        classifier = Classifier(mlp(), mean=0.5, std=0.3)
    eb.attack(classifier, x, y, Ball("linf", 0.1), method="pgd,steps=3,start=none")
    eb.attack(classifier, x, y, Ball("linf", 0.1), method="apgd-t,steps=3")
    eb.certify(classifier, x, y, Ball("linf", 0.01), method="optimised")
    eb.cka(module, mlp(), x)
    assert all(p.requires_grad for p in module.parameters())


def test_modules_made_in_inference_mode_are_not_trained_and_uncopyable_ones_named():
    module = made_in_inference_mode(mlp)
    with pytest.raises(ModelError, match="inference_mode"):
        eb.train(module, (torch.rand(40, 16), torch.arange(40) % 4))
    module.lock = (i for i in ())
    with pytest.raises(ModelError, match=r"'1\.weight' of the model was made under torch\.inference_mode"):
        Classifier(module)


def test_flags_are_put_back_if_setting_them_fails():
    class Stubborn(nn.Parameter):
        def requires_grad_(self, requires_grad: bool = True) -> nn.Parameter:
            raise RuntimeError("stubborn")

    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    module[1].bias = Stubborn(torch.zeros(4))
    with pytest.raises(RuntimeError, match="stubborn"):
        Classifier(module)(torch.rand(3, 4))
    assert [p.requires_grad for p in module.parameters()] == [True] * 4
