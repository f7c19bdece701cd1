"""Classes masked by logits of -infinity: every attack finds what it finds without their columns."""

import pytest
import torch
from torch import Tensor, nn

from attacks.test_contract import quick
from epsball import Ball, Classifier, attack
from epsball.attacks import ATTACKS, PGD, TargetedAPGD, losses
from epsball.attacks.registry import resolve
from helpers import Wrapped, mlp

BALLS = {"linf": Ball("linf", 0.03), "l2": Ball("l2", 0.15), "l1": Ball("l1", 0.5)}


def beside(module: nn.Module, masked: int = 2) -> nn.Module:
    """Return a network with masked classes after its own."""
    return Wrapped(lambda m, x: torch.cat([m(x), torch.full((len(x), masked), -torch.inf)], 1), module)


class Added(nn.Module):
    """A layer of six classes with -infinity added to three logits, which keep their gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(classes=6)
        self.register_buffer("mask", torch.tensor([-torch.inf, 0.0, 0.0, -torch.inf, 0.0, -torch.inf]))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) + self.mask

    def cut(self) -> nn.Module:
        return Wrapped(lambda m, x: m(x)[:, self.mask.isfinite()], self.net)


def data(module: nn.Module) -> tuple[Tensor, Tensor]:
    x = torch.rand(24, 16, generator=torch.Generator().manual_seed(3))
    return x, module(x).argmax(1)


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_equal_those_on_the_network_without_the_masked_columns(name, classes):
    if name.startswith("autoattack"):
        pytest.skip("made of the others")
    method = resolve(quick(name))
    ball = BALLS[method.norms[0] if "linf" not in method.norms else "linf"]
    plain = mlp(classes=classes)
    x, y = data(plain)
    found, expected = (attack(Classifier(m), x, y, ball, method=method, stop="never") for m in (beside(plain), plain))
    assert torch.equal(found.x_adv, expected.x_adv)
    assert torch.equal(found.nearest, expected.nearest)
    assert torch.equal(found.margin, expected.margin)
    forwards, wanted = (int(r.ledger.forwards.sum()) for r in (found, expected))
    assert forwards == wanted


@pytest.mark.parametrize("norm", BALLS)
@pytest.mark.parametrize("loss", ["dlr", "margin", "rescaled-cross-entropy"])
def test_losses_of_added_masks_find_what_those_of_the_cut_network_find(loss, norm):
    module = Added()
    x, y = data(module)
    kept = torch.nonzero(module.mask.isfinite())[:, 0]
    cut = torch.searchsorted(kept, y)
    found = attack(Classifier(module), x, y, BALLS[norm], method=PGD(steps=20, loss=loss, start="none"))
    expected = attack(Classifier(module.cut()), x, cut, BALLS[norm], method=PGD(steps=20, loss=loss, start="none"))
    assert torch.equal(found.broken, expected.broken)
    torch.testing.assert_close(found.x_adv, expected.x_adv)


@pytest.mark.parametrize("loss", losses.TARGETED)
def test_targets_that_are_masked_at_some_examples_only_are_skipped_there(loss):
    def masked(m, x):
        z = m(x)
        return torch.where((x[:, :1] > 0.5) & (torch.arange(z.shape[1]) == 3), -torch.inf, z)

    module = Wrapped(masked, mlp())
    x, _ = data(mlp())
    x = x[(x[:, 0] - 0.5).abs() > 0.1]
    y = module(x).argmax(1)
    method = TargetedAPGD(steps=5, loss=loss)
    together = attack(Classifier(module), x, y, BALLS["linf"], method=method, stop="never")
    alone = attack(Classifier(module), x, y, BALLS["linf"], method=method, stop="never", batch_size=1)
    assert torch.equal(together.x_adv, alone.x_adv)
    assert int(together.ledger.summary()["apgd-t"][1]) == int(alone.ledger.summary()["apgd-t"][1])
    assert not together.invalid


def test_an_example_whose_label_is_masked_is_misclassified():
    module = beside(mlp())
    x, y = data(module)
    y[:3] = 4
    for name in ATTACKS:
        method = resolve(quick(name))
        if not name.startswith("autoattack"):
            norm = method.norms[0] if "linf" not in method.norms else "linf"
            result = attack(Classifier(module), x, y, BALLS[norm], method=method)
            assert result.broken[:3].all()
            assert (result.margin[:3] == -torch.inf).all()
            assert not result.invalid


@pytest.mark.parametrize("name", ["pgd,loss=rescaled-cross-entropy", "apgd,loss=dlr", "apgd-t", "fab", "ddn", "fmn"])
def test_masked_labels_and_single_open_classes_break_no_search(name):
    """Searched to the end, where there is nothing to find or everything is found already."""

    def one_open(m, x):
        z = m(x)
        return torch.where((x[:, :1] > 0.8) & (torch.arange(z.shape[1]) > 0), -torch.inf, z)

    module = Wrapped(one_open, mlp())
    x, y = data(mlp())
    x[:4, 0], y[:4], y[2:4] = 0.95, 0, 1
    method = resolve(quick(name) if "," not in name else name + ",steps=5")
    ball = BALLS[method.norms[0] if "linf" not in method.norms else "linf"]
    result = attack(Classifier(module), x, y, ball, method=method, stop="never")
    assert result.broken[:4].tolist() == [False, False, True, True]
    assert (result.margin[:2] == torch.inf).all()


@pytest.mark.parametrize("name", ["apgd-t,steps=2", "fab,steps=2"])
def test_nothing_breaks_examples_of_the_only_class_that_is_not_masked(name):
    module = Wrapped(lambda m, x: m(x) + torch.tensor([-torch.inf, 0.0, -torch.inf]), mlp(classes=3))
    x = torch.rand(4, 16, generator=torch.Generator().manual_seed(3))
    found = attack(Classifier(module), x, torch.ones(4, dtype=torch.int64), BALLS["linf"], method=name)
    assert found.accuracy == 1.0
