"""Surrogate gradients: values bit for bit, a gradient for everything that has none."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from epsball.attacks import bpda
from epsball.attacks.adaptive.surrogate_gradients import surrogate_gradients
from helpers import Wrapped

pytestmark = pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")


class Permuted(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.sigmoid(x)

    @staticmethod
    def backward(ctx, g):
        return g.flip(1)


class Unchanged(Permuted):
    @staticmethod
    def forward(ctx, x):
        return x


class InNumpy(Permuted):
    @staticmethod
    def forward(ctx, x):
        return torch.from_numpy(np.round(x.numpy() * 8) / 8)


def rounded_in_place(x):
    y = 8 * x
    y.round_()
    return y / 8


def floored_on_data(x):
    y = (1 * x).detach()
    y.mul_(8).floor_().div_(8)
    return y


def rounded_into(x):
    y = torch.empty(0)
    with torch.no_grad():
        torch.round(8 * x, out=y)
    return y / 8


def zeroed_by_mask(x):
    y = x.clone()
    y[y < 0.5] = 0
    return y


def filled_buffer(x):
    y = torch.zeros_like(x)
    with torch.no_grad():
        y.copy_(x)
        y.mul_(8).round_()
    return y / 8


def without_gradients(function):
    def of(x):
        with torch.no_grad():
            return function(x)

    return of


def inferred(x):
    with torch.inference_mode():
        y = (8 * x).round() / 8
    return y.clone()


def largest_only(x):
    return x * (x >= x.topk(4, 1).values[:, -1:]).float()


def largest_scattered(x):
    return torch.zeros_like(x).scatter_(1, x.topk(4, 1).indices, 1.0)


def drawn(function):
    def of(x):
        torch.manual_seed(0)
        return function(x)

    return of


def hooked(x):
    y = 1 * x
    if y.requires_grad:
        y.register_hook(lambda g: g.flip(1))
    return y


def purified(x):
    z = x.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad((z**2).sum(), z)
    return x.detach() - 0.1 * gradient.sign()


EDGES = torch.linspace(0.1, 0.9, 9)
TABLE = torch.linspace(0, 2, 16)

CASES = {
    "round": lambda x: (8 * x).round() / 8,
    "decimals": lambda x: x.round(decimals=1),
    "ceil and trunc": lambda x: (8 * x).ceil() / 8 + torch.trunc(8 * x) / 8,
    "in place": rounded_in_place,
    "data in place": floored_on_data,
    "out": rounded_into,
    "overload": lambda x: torch.ops.aten.round.default(8 * x) / 8,
    "remainder": lambda x: x - x % 0.125,
    "fmod": lambda x: x - torch.fmod(x, 0.125),
    "floor division": lambda x: (x // 0.125) * 0.125,
    "rounding mode": lambda x: torch.div(x, 0.125, rounding_mode="floor") * 0.125,
    "frac": lambda x: torch.frac(8 * x),
    "sign": lambda x: torch.sign(x - 0.5),
    "heaviside": lambda x: torch.heaviside(x - 0.5, torch.zeros(())),
    "uint8": lambda x: (255 * x).to(torch.uint8).float() / 255,
    "bool": lambda x: functional.relu(x - 0.5).bool().float(),
    "bits": lambda x: ((255 * x).byte() & 0xF0).float() / 255,
    "shifts": lambda x: (((255 * x).int() >> 4) << 4) / 255,
    "mask times x": lambda x: x * (x > 0.5),
    "sum of masks": lambda x: ((x > 0.2).int() + (x > 0.4).int() + (x > 0.6).int()) / 3,
    "logic": lambda x: ((x > 0.2) & ~(x > 0.8)).float(),
    "any": lambda x: (x > 0.5).any(1, keepdim=True).float() * x.new_ones(1, x.shape[1]),
    "where": lambda x: torch.where(x > 0.5, torch.ones(()), torch.zeros(())),
    "masked fill": lambda x: x.masked_fill(x < 0.5, 0.0),
    "set by mask": zeroed_by_mask,
    "thermometer": lambda x: (x[..., None] > torch.linspace(0, 1, 5)).float().flatten(1),
    "one hot": lambda x: functional.one_hot((4 * x).long().clamp(0, 3), 4).float().flatten(1),
    "argmax": lambda x: functional.one_hot(x.argmax(1), x.shape[1]).float(),
    "equal to the largest": lambda x: (x == x.amax(1, keepdim=True)).float(),
    "above the median": lambda x: (x > x.median(1, keepdim=True).values).float(),
    "largest": largest_only,
    "largest, scattered": largest_scattered,
    "table": lambda x: TABLE[(15 * x).round().long()],
    "embedding": lambda x: functional.embedding((7 * x).long(), TABLE.view(8, 2)).flatten(1),
    "bucketize": lambda x: torch.bucketize(x, EDGES).float() / 9,
    "searchsorted": lambda x: torch.searchsorted(EDGES, x).float() / 9,
    "joined masks": lambda x: torch.cat([x[:, :8] > 0.5, x[:, 8:] > 0.3], 1).float(),
    "row by row": lambda x: torch.stack([row.round() for row in 8 * x]) / 8,
    "detach": lambda x: x.detach(),
    "data": lambda x: 2 * x.data,
    "no_grad": without_gradients(lambda x: (8 * x).round() / 8),
    "no_grad in place": without_gradients(lambda x: torch.exp(x).mul_(2).round_()),
    "no_grad, largest": without_gradients(largest_only),
    "inference_mode": inferred,
    "buffer": filled_buffer,
    "dead relu": lambda x: functional.relu(x - 3.0),
    "dead relu in place": lambda x: functional.relu(x - 3.0, inplace=True),
    "clamp": lambda x: (x + 3).clamp(0, 1),
    "threshold": lambda x: functional.threshold(x - 5, 0.0, 0.0),
    "sigmoid": lambda x: torch.sigmoid(1e4 * (x - 0.5)),
    "softmax": lambda x: torch.softmax(1e5 * x, 1),
    "quantised": lambda x: torch.quantize_per_tensor(x, 1 / 16, 0, torch.quint8).dequantize(),
    "bernoulli": drawn(torch.bernoulli),
    "compared with noise": drawn(lambda x: (x > torch.rand_like(x)).float()),
    "permuted": Permuted.apply,
    "unchanged": Unchanged.apply,
    "custom in numpy": InNumpy.apply,
    "hook": hooked,
    "numpy": lambda x: torch.from_numpy(np.round(8 * x.detach().numpy()) / 8),
    "own gradient": purified,
}

WEIGHT = torch.randn(16, 16, generator=torch.Generator().manual_seed(0))


def network(function) -> nn.Module:
    return Wrapped(lambda _, x: torch.tanh((function(x).flatten(1)[:, :16] - 0.5) @ WEIGHT)).eval()


def inputs(n: int = 6) -> Tensor:
    return torch.rand(n, 16, generator=torch.Generator().manual_seed(1))


def through(module: nn.Module, x: Tensor, **options: bool) -> tuple[Tensor, Tensor]:
    """Return the output and the input gradient of its sum, under surrogate gradients."""
    leaf = x.clone().requires_grad_()
    with torch.enable_grad(), surrogate_gradients(module, **options) as mode:
        output = mode.attached(module(leaf.clone()))
    return output.detach(), torch.autograd.grad(output.sum(), leaf)[0]


@pytest.mark.parametrize("name", CASES)
def test_values_are_bit_for_bit_the_same_and_a_gradient_reaches_the_input(name):
    module, x = network(CASES[name]), inputs()
    output, gradient = through(module, x)
    assert torch.equal(output, module(x.clone().requires_grad_()).detach())
    assert gradient.isfinite().all()
    assert gradient.flatten(1).any(1).all()


@pytest.mark.parametrize("name", ["round", "uint8", "no_grad", "in place", "buffer", "remainder", "quantised", "numpy"])
def test_rounding_is_passed_straight_through(name):
    x = inputs()
    _, gradient = through(Wrapped(lambda _, x: CASES[name](x) @ WEIGHT), x)
    expected = WEIGHT.sum(1).expand_as(x)
    assert functional.cosine_similarity(gradient, expected).min() > 0.99


def test_custom_functions_are_differentiated_through_their_forward_unless_they_are_trusted():
    x = inputs()
    module = Wrapped(lambda _, x: Permuted.apply(x) @ WEIGHT)
    slope = torch.sigmoid(x) * (1 - torch.sigmoid(x))
    assert torch.allclose(through(module, x)[1], slope * WEIGHT.sum(1), atol=1e-6)
    assert torch.allclose(through(module, x, trusting=True)[1], WEIGHT.sum(1).flip(0).expand_as(x), atol=1e-6)


def test_the_users_own_surrogate_counts():
    module = Wrapped(lambda _, x: bpda(torch.round, lambda v: 3 * v)(x) @ WEIGHT)
    assert torch.allclose(through(module, inputs())[1], 3 * WEIGHT.sum(1).expand(6, 16), atol=1e-5)


def test_differentiable_networks_keep_their_own_gradient():
    layers = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.GELU(), nn.Linear(8, 16), nn.Softmax(1))
    module, x = layers.eval(), inputs()
    leaf = x.clone().requires_grad_()
    (own,) = torch.autograd.grad(module(leaf)[:, 0].sum(), leaf)
    leaf = x.clone().requires_grad_()
    with surrogate_gradients(module) as mode:
        output = mode.attached(module(leaf.clone()))
    assert torch.equal(own, torch.autograd.grad(output[:, 0].sum(), leaf)[0])
    assert not mode.replaced


def test_hooks_on_gradients_are_put_aside_and_back():
    layer = nn.Linear(16, 16)
    handle = layer.register_full_backward_hook(lambda module, inputs, outputs: (inputs[0].flip(1),))
    x = inputs()
    _, gradient = through(layer, x)
    assert torch.allclose(gradient, layer.weight.sum(0).expand_as(x), atol=1e-6)
    assert len(layer._backward_hooks) == 1
    handle.remove()


def test_what_is_not_reached_is_named():
    x = inputs()
    with surrogate_gradients(nn.Identity()) as mode:
        leaf = x.clone().requires_grad_()
        leaf.clone().detach().numpy()
        leaf.clone().nonzero()
    assert set(mode.missed) == {"numpy", "nonzero"}


def test_no_trace_is_left_on_buffers():
    class Remembering(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("last", torch.zeros(6, 16))

        def forward(self, x):
            with torch.no_grad():
                self.last.copy_(x).round_()
            return self.last * 1.0

    module = Remembering()
    _, gradient = through(module, inputs())
    assert gradient.any()
    assert not module.last.requires_grad


OPERATIONS = [name for name in CASES if name not in ("embedding", "thermometer", "one hot", "own gradient", "numpy")]


@pytest.mark.parametrize("seed", range(6))
def test_random_networks_keep_their_values(seed):
    """Chains of three operations with a mixing layer between them."""
    generator = torch.Generator().manual_seed(seed)
    chosen = [OPERATIONS[i] for i in torch.randint(len(OPERATIONS), (3,), generator=generator).tolist()]

    def forward(_, x):
        for name in chosen:
            x = torch.sigmoid(CASES[name](x).flatten(1)[:, :16] @ WEIGHT)
        return x

    module, x = Wrapped(forward), inputs()
    output, _ = through(module, x)
    assert torch.equal(output, module(x.clone().requires_grad_()).detach())
