"""What is judged is the module as it was given, whatever its passes change."""

import copy
from collections import UserDict, deque
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from epsball import Ball, Classifier, ModelError, attack, cka
from epsball.classifier.margins import margins
from helpers import Wrapped, mlp

BALL = Ball("linf", 0.05)


class Moving(nn.Module):
    """A network of x plus a shift, which each pass changes by `move`."""

    def __init__(self, shift: object, read, move) -> None:
        super().__init__()
        self.net, self._read, self._move = mlp(), read, move
        if isinstance(shift, Tensor) and not isinstance(shift, nn.Parameter):
            self.register_buffer("shift", shift)
        else:
            self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        z = self.net(x + self._read(self))
        with torch.no_grad():
            self._move(self)
        return z


class Part:
    """An object of the model's own code."""

    def __init__(self) -> None:
        self.shift, self.calls = torch.zeros(16), 0


def _rebind(m):
    m.shift = m.shift + 0.1


def _count(m):
    m.shift += 1


def _replace_memory(m):
    m.shift.data = m.shift.data + 0.1


def _parameter(m):
    return m.shift


MOVES = {
    "buffer": (torch.zeros(16), lambda m: m.shift, lambda m: m.shift.add_(0.1)),
    "buffer behind autograd's back": (torch.zeros(16), lambda m: m.shift, lambda m: m.shift.data.add_(0.1)),
    "buffer re-bound": (torch.zeros(16), lambda m: m.shift, _rebind),
    "list": ([torch.zeros(16)], lambda m: m.shift[0], lambda m: m.shift[0].add_(0.1)),
    "list re-bound": ([torch.zeros(16)], lambda m: m.shift[-1], lambda m: m.shift.append(m.shift[-1] + 0.1)),
    "nested": ({"a": ([torch.zeros(16)],)}, lambda m: m.shift["a"][0][0], lambda m: m.shift["a"][0][0].add_(0.1)),
    "dictionary": ({}, lambda m: 0.1 * len(m.shift), lambda m: m.shift.update({len(m.shift): 0})),
    "queue": (deque([0.0], 1), lambda m: m.shift[0], lambda m: m.shift.append(m.shift[0] + 0.1)),
    "array": (np.zeros(16, np.float32), lambda m: torch.from_numpy(m.shift.copy()), lambda m: m.shift.__iadd__(0.1)),
    "number": (0, lambda m: 0.1 * m.shift, _count),
    "namespace": (SimpleNamespace(v=0.0), lambda m: m.shift.v, lambda m: setattr(m.shift, "v", m.shift.v + 0.1)),
    "object": (Part(), lambda m: m.shift.shift, lambda m: m.shift.shift.add_(0.1)),
    "object in an object": (
        SimpleNamespace(part=Part()),
        lambda m: m.shift.part.shift,
        lambda m: setattr(m.shift.part, "shift", m.shift.part.shift + 0.1),
    ),
    "partial": (partial(torch.add, torch.zeros(16)), lambda m: m.shift(0), lambda m: m.shift.args[0].add_(0.1)),
    "user dictionary": (UserDict(v=0.0), lambda m: m.shift["v"], lambda m: m.shift.update(v=m.shift["v"] + 0.1)),
    "object's number": (Part(), lambda m: 0.1 * m.shift.calls, lambda m: setattr(m.shift, "calls", 1)),
    "hidden module": ([nn.BatchNorm1d(16)], lambda m: m.shift[0].running_mean, lambda m: m.shift[0](torch.rand(9, 16))),
    "parameter": (nn.Parameter(torch.zeros(16)), _parameter, lambda m: m.shift.add_(0.1)),
    "parameter's memory": (nn.Parameter(torch.zeros(16)), _parameter, _replace_memory),
}


def moving(kind: str) -> Moving:
    shift, read, move = MOVES[kind]
    return Moving(copy.deepcopy(shift), read, move)


def data() -> tuple[Tensor, Tensor]:
    x = torch.rand(40, 16, generator=torch.Generator().manual_seed(0))
    return x, mlp()(x).argmax(1)


@pytest.mark.parametrize("kind", MOVES)
def test_a_module_that_moves_is_attacked_as_the_one_that_was_given(kind):
    x, y = data()
    module = moving(kind)
    found, expected = (attack(Classifier(m), x, y, BALL, method="pgd,steps=5") for m in (module, mlp()))
    assert torch.equal(found.x_adv, expected.x_adv)
    assert torch.equal(found.margin, expected.margin)
    assert expected.broken.any()
    torch.testing.assert_close(module(x), mlp()(x), rtol=0, atol=0)


@pytest.mark.parametrize("method", ["square,queries=50", "fab,steps=5", "apgd-t,steps=5"])
def test_other_searches_see_the_module_as_it_was_given_too(method):
    x, y = data()
    found, expected = (attack(Classifier(m), x, y, BALL, method=method) for m in (moving("buffer"), mlp()))
    assert torch.equal(found.x_adv, expected.x_adv)


def test_a_search_in_bf16_restores_its_copy():
    x, y = data()
    modules = moving("buffer"), mlp()
    found, expected = (attack(Classifier(m), x, y, BALL, method="pgd,steps=5", precision="bf16") for m in modules)
    assert torch.equal(found.x_adv, expected.x_adv)


def test_blocks_of_logits_and_features_come_from_the_module_as_it_was_given():
    x = torch.rand(600, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Classifier(moving("number"))(x), mlp()(x), rtol=0, atol=0)
    found, expected = (cka(m, mlp(), x[:90], batch_size=30).matrix[-1] for m in (moving("number"), mlp()))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_what_begins_to_move_later_is_restored_too():
    """A buffer that only points with a large first coordinate change."""

    def move(m):
        m.shift.data.add_(0.1 * m.large)

    module = Moving(torch.zeros(16), lambda m: m.shift, move)
    module.register_forward_pre_hook(lambda m, args: setattr(m, "large", float((args[0][:, 0] > 0.99).any())))
    x, y = data()
    x[7, 0] = 0.98
    found, expected = (attack(Classifier(m), x, y, BALL, method="pgd,steps=5") for m in (module, mlp()))
    with torch.no_grad():
        assert (found.margin[found.broken] <= 0).all()
        z = mlp()(found.x_adv[found.broken])
    wrong = z.argmax(1) != y[found.broken]
    assert wrong.all()
    assert torch.equal(found.broken, expected.broken)


def test_a_parameter_that_cannot_be_restored_is_named():
    def late(m, x):
        if x.mean() > 0.9:
            with torch.no_grad():
                m[1].weight.mul_(1.01)
        return m(x)

    classifier = Classifier(Wrapped(late, mlp()))
    classifier.check(*data())
    with pytest.raises(ModelError, match=r"parameter 'inner\.1\.weight' in evaluation mode"):
        classifier.logits(torch.ones(4, 16))


def test_a_stochastic_model_that_keeps_its_generator_in_a_buffer_draws_anew():
    def noisy(m, x):
        m.seed.mul_(48271).remainder_(2**31 - 1)
        return m(x) + 2 * (m.seed.double() / 2**31 - 0.5).float()[None] * torch.tensor([1.0, -1.0, 0.5, 0.0])

    module = Wrapped(noisy, mlp())
    module.inner.register_buffer("seed", torch.tensor([12345]))
    classifier = Classifier(module, stochastic=True)
    with classifier.in_use(), torch.no_grad():
        x, _ = data()
        assert not torch.equal(classifier.forward(x), classifier.forward(x))
    assert int(module.inner.seed) == 12345


class Observed(nn.Module):
    """Rounds to a grid over the range it has seen, and goes on observing in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()
        self.register_buffer("range", torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        z = self.net(x)
        self.range.lerp_(z.detach().abs().amax(), 0.003)
        return z + ((z / self.range * 64).round() / 64 * self.range - z).detach()


def test_where_what_moves_depends_on_the_batch_each_point_is_judged_by_itself():
    x, y = data()
    module = Observed()
    classifier = Classifier(module)
    found = attack(classifier, x, y, BALL, method="pgd,steps=5")
    assert int(found.ledger.forwards.sum()) == classifier.passes.forward
    alone = torch.cat([copy.deepcopy(module)(row) for row in found.x_adv.split(1)])
    assert torch.equal(margins(alone, y), found.margin)
    assert found.broken.any()
