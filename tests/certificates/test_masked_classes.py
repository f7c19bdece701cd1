"""Classes whose logits are -infinity at every input: certificates are those of the network without them."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from epsball import Classifier, certify
from epsball.ball import Ball
from epsball.certificates.masked_classes import without_masked_classes
from epsball.errors import ModelError, UnsupportedOperation
from epsball.graph import capture
from helpers import Wrapped

INFINITY = math.inf
MASK = torch.tensor([-INFINITY, 0.0, 0.0, -INFINITY, 0.0])
HIDDEN = MASK < 0
KEPT = (1, 2, 4)


def body(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5)).eval()


def bare(module: nn.Sequential) -> nn.Sequential:
    """Return the network without the masked rows of its last layer."""
    last = nn.Linear(6, len(KEPT))
    last.weight.data, last.bias.data = module[2].weight.data[list(KEPT)], module[2].bias.data[list(KEPT)]
    return nn.Sequential(module[0], module[1], last).eval()


def _written(logits: torch.Tensor) -> torch.Tensor:
    logits[:, 0] = -INFINITY
    logits[:, 3:4] = -INFINITY
    return logits


def _joined(logits: torch.Tensor) -> torch.Tensor:
    hidden = torch.full((len(logits), 1), -INFINITY)
    return torch.cat([hidden, logits[:, 1:3], hidden, logits[:, 4:]], 1)


MASKED = {
    "buffer": lambda net, x: net(x) + MASK,
    "mask first": lambda net, x: MASK + net(x),
    "subtracted": lambda net, x: net(x) - (-MASK),
    "masked_fill": lambda net, x: net(x).masked_fill(HIDDEN, -INFINITY),
    "where": lambda net, x: torch.where(HIDDEN, torch.tensor(-INFINITY), net(x)),
    "written": lambda net, x: _written(net(x)),
    "joined": lambda net, x: _joined(net(x)),
    "twice": lambda net, x: net(x) + torch.where(HIDDEN & (torch.arange(5) < 2), MASK, 0 * MASK.clamp(min=0)) + MASK,
}


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    return torch.rand(12, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", MASKED)
def test_certificates_are_those_of_the_network_without_the_masked_classes(name, x):
    net = body()
    masked, plain = Classifier(Wrapped(MASKED[name], net)), Classifier(bare(net))
    label = masked.logits(x).argmax(1)
    ball = Ball("linf", "1/20")
    found = certify(masked, x, label, ball)
    expected = certify(plain, x, plain.logits(x).argmax(1), ball)
    assert torch.equal(found.margin, expected.margin)
    assert torch.equal(found.criterion, expected.criterion)
    assert found.method == expected.method
    assert torch.equal(found.predicted, label)
    assert 0 < int(found.certified.sum()) < len(x)


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_so_are_those_of_other_balls_and_of_the_real_network(norm, x):
    net = body()
    masked, plain = Classifier(Wrapped(MASKED["buffer"], net)), Classifier(bare(net))
    arguments = {"ball": Ball(norm, "1/10"), "semantics": "real"}
    found = certify(masked, x, masked.logits(x).argmax(1), **arguments)
    expected = certify(plain, x, plain.logits(x).argmax(1), **arguments)
    assert torch.equal(found.margin, expected.margin)


AFTERWARDS = {
    "log-softmax": lambda logits: logits.log_softmax(1),
    "temperature": lambda logits: logits / 0.5,
    "both": lambda logits: (2 * logits).log_softmax(1),
    "clamp": lambda logits: logits.clamp(max=5.0),
}


@pytest.mark.parametrize("name", AFTERWARDS)
def test_what_follows_the_mask_is_that_of_the_finite_logits(name, x):
    net, after = body(), AFTERWARDS[name]
    masked = Classifier(Wrapped(lambda net, x: after(net(x) + MASK), net))
    plain = Classifier(Wrapped(lambda net, x: after(net(x)), bare(net)))
    arguments = {"ball": Ball("linf", "1/20"), "semantics": "real"}
    found = certify(masked, x, masked.logits(x).argmax(1), **arguments)
    expected = certify(plain, x, plain.logits(x).argmax(1), **arguments)
    assert torch.equal(found.margin, expected.margin)


def test_a_bias_may_mask(x):
    net = body()
    plain = Classifier(bare(net))
    expected = certify(plain, x, plain.logits(x).argmax(1), Ball("linf", "1/20"))
    net[2].bias.data += MASK
    masked = Classifier(net)
    found = certify(masked, x, masked.logits(x).argmax(1), Ball("linf", "1/20"))
    assert torch.equal(found.margin, expected.margin)
    assert without_masked_classes(capture(net, (4,))).masked == (0, 3)


def test_a_bias_masks_only_what_is_finite_itself():
    net = nn.Linear(2, 3)
    net.weight.data = torch.tensor([[3e38, 3e38], [1.0, 0.0], [0.0, 1.0]])
    net.bias.data = torch.tensor([-INFINITY, 0.0, 0.0])
    x, y = torch.tensor([[0.2, 0.1], [0.9, 0.2]]), torch.tensor([1, 1])
    found = certify(Classifier(net), x, y, Ball("linf", "1/100"))
    assert found.stable.tolist() == [True, False]


def test_a_minimum_masks(x):
    net = body()
    limits = torch.where(HIDDEN, -INFINITY, INFINITY)
    masked, plain = Classifier(Wrapped(lambda net, x: torch.minimum(net(x), limits), net)), Classifier(bare(net))
    found = certify(masked, x, masked.logits(x).argmax(1), Ball("linf", "1/20"))
    expected = certify(plain, x, plain.logits(x).argmax(1), Ball("linf", "1/20"))
    assert torch.equal(found.margin, expected.margin)


def test_a_logarithm_of_a_masked_softmax_is_that_of_the_finite_logits(x):
    net = body()
    masked = Classifier(Wrapped(lambda net, x: (net(x) + MASK).softmax(1).log(), net))
    plain = Classifier(Wrapped(lambda net, x: net(x).softmax(1).log(), bare(net)))
    arguments = {"ball": Ball("linf", "1/20"), "semantics": "real"}
    found = certify(masked, x, masked.logits(x).argmax(1), **arguments)
    expected = certify(plain, x, plain.logits(x).argmax(1), **arguments)
    assert torch.equal(found.margin, expected.margin)


def test_an_example_whose_label_is_masked_is_not_certified_and_no_file_is_written(x, tmp_path):
    found = certify(
        Classifier(Wrapped(MASKED["buffer"], body())),
        x,
        torch.zeros(len(x), dtype=torch.int64),
        Ball("linf", "1/1000"),
        folder=tmp_path,
    )
    assert bool(found.stable.any())
    assert not bool(found.certified.any())
    assert found.not_replayable == "the logits of classes 0, 3 are -inf at every input"
    assert not found.files


def test_a_padded_class_is_masked(x):
    module = Wrapped(lambda net, x: functional.pad(net(x), (1, 0), value=-INFINITY), body())
    assert without_masked_classes(capture(module, (4,))).masked == (0,)


def test_what_is_masked_must_be_finite_itself(x):
    net = body()
    net[2].bias.data[0] = 2e38
    found = certify(
        Classifier(Wrapped(MASKED["buffer"], net)), x, torch.ones(len(x), dtype=torch.int64), Ball("linf", "1/1000")
    )
    assert not bool(found.stable.any())


REFUSED = {
    "where": lambda net, x: torch.where(x[:, :1] > 0.5, torch.tensor(-INFINITY), net(x)),
    "masked_fill": lambda net, x: net(x).masked_fill(x[:, :1] > 0.5, -INFINITY),
    "log": lambda net, x: net(x) + functional.pad(torch.log((x[:, :1] - 0.5).clamp(0, 1)), (0, 4)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_mask_that_depends_on_the_input_is_refused_by_name(name, x):
    classifier = Classifier(Wrapped(REFUSED[name], body()))
    with pytest.raises(UnsupportedOperation, match="-inf"):
        certify(classifier, x, torch.zeros(len(x), dtype=torch.int64), Ball("linf", "1/1000"))


def test_one_class_that_is_left_has_no_margin():
    module = Wrapped(lambda net, x: net(x) + torch.tensor([0.0, *[-INFINITY] * 4]), body())
    with pytest.raises(ModelError, match="a margin needs two"):
        without_masked_classes(capture(module, (4,)))


def test_infinite_constants_within_a_network_are_refused_by_name(x):
    module = Wrapped(lambda net, x: net((x + torch.tensor([0.0, 0, 0, -INFINITY])).clamp(min=0)), body())
    with pytest.raises(UnsupportedOperation, match="is not finite"):
        certify(Classifier(module), x, torch.zeros(len(x), dtype=torch.int64), Ball("linf", "1/1000"))
