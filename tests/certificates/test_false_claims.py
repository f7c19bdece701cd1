"""Networks about which more was once claimed than holds."""

import itertools
from contextlib import suppress

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from certificates.soundness import CHECKED
from epsball.ball import Ball
from epsball.certificates import FLOAT32, METHODS, REAL, Domain, Problem
from epsball.errors import UnsupportedOperation
from epsball.graph import capture
from helpers import Wrapped


def beside(constant: float, function) -> nn.Module:
    """Return the network of logits (f(x), constant)."""
    return Wrapped(lambda _, x: functional.pad(function(x), (0, 1), value=constant))


FALSE = {
    "softplus of negative beta is concave": (
        beside(-0.6, lambda x: functional.softplus(x, beta=-1.0) - 0.1545 * x),
        ([5.0], "33/5", -6.0, 5.0),
        [1.7],
    ),
    "softplus jumps at a low threshold": (
        beside(0.3, lambda x: functional.softplus(x, threshold=0.1)),
        ([0.09], "1/20", 0.0, 1.0),
        [0.11],
    ),
    "a reciprocal has a pole": (beside(-5.0, torch.reciprocal), ([0.5], "1", -1.0, 1.0), [-0.01]),
    "a root has no value below 0": (beside(-5.0, torch.sqrt), ([0.5], "1", -1.0, 1.0), [-0.5]),
}


@pytest.mark.parametrize("name", FALSE)
def test_no_method_certifies_what_a_point_of_the_ball_refutes(name):
    module, (centre, radius, low, high), point = FALSE[name]
    x = torch.tensor([centre])
    label = module(x).argmax(1)
    refuted = module(torch.tensor([point]))
    assert refuted.isnan().any() or int(refuted.argmax()) != int(label)
    graph, domain = capture(module, tuple(x.shape[1:])), Domain.of(Ball("linf", radius, low=low, high=high), x)
    for arithmetic, (method, bound) in itertools.product((REAL, FLOAT32), CHECKED.items()):
        with suppress(UnsupportedOperation):  # no Lipschitz constant
            rows = bound(Problem.of(graph, domain, label, arithmetic=arithmetic)).rows
            assert float(rows) <= 0, (arithmetic.name, method)


def _product(x: Tensor) -> Tensor:
    return x[:, :1] * x[:, 1:]


def _cancelling(x: Tensor) -> Tensor:
    return torch.matmul(x[:, None, :8], x[:, 8:, None])[:, 0]


DEPLOYED = {
    "the exponential in a softplus overflows": (
        Wrapped(lambda _, x: functional.pad(functional.softplus(x, threshold=100.0), (0, 1), value=99.0)),
        ([85.0], 10, 0.0, 255.0),
        [94.9],
        False,
    ),
    "a factor is flushed": (beside(1e-8, _product), ([9e-39, 1e32], "1/1" + "0" * 43, 0.0, 1e33), [9e-39, 1e32], True),
    "a slope is flushed": (
        Wrapped(lambda _, x: functional.pad(-functional.leaky_relu(x, 1e-39), (0, 1), value=1e-3)),
        ([-1e37], 1, -1e37, 1e37),
        [-1e37],
        True,
    ),
    "a root of a flushed number": (beside(5e-20, torch.sqrt), ([9e-39], "1/1" + "0" * 43, 0.0, 1.0), [9e-39], True),
    "the sum of a mean overflows": (
        beside(1e38, lambda x: -x.mean(1, keepdim=True)),
        ([3e38] * 4, 1, 0.0, 3.2e38),
        [3e38] * 4,
        False,
    ),
    "partial sums of a product overflow": (
        beside(-1e36, _cancelling),
        ([1.5e19] * 12 + [-1.5e19] * 4, 1, -1.6e19, 1.6e19),
        [1.5e19] * 12 + [-1.5e19] * 4,
        False,
    ),
}


@pytest.mark.parametrize("name", DEPLOYED)
def test_no_deployed_network_is_certified_of_what_it_computes_otherwise(name):
    module, (centre, radius, low, high), point, flush = DEPLOYED[name]
    x = torch.tensor([centre])
    label = module(x.double()).argmax(1)
    if not torch.set_flush_denormal(flush) and flush:
        pytest.skip("this processor does not flush subnormal numbers")
    try:
        computed = module(torch.tensor([point]))
    finally:
        torch.set_flush_denormal(False)
    assert bool((computed.argmax(1) != label).any()) or not bool(computed.isfinite().all())
    domain = Domain.of(Ball("linf", radius, low=low, high=high), x)
    problem = Problem.of(capture(module, tuple(x.shape[1:])), domain, label)
    for method in ("interval", "crown-ibp", "forward", "crown", "optimised"):
        assert float(METHODS[method](problem).rows) <= 0, method
