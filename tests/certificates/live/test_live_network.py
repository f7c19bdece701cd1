"""Bounds through live parameters: those of the methods, for the module as it is now, with its gradients."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

import epsball as eb
from epsball import ModelError, UnsupportedOperation
from epsball.certificates import PLAIN, Domain, LiveNetwork, Problem, crown_ibp, interval
from epsball.certificates.verifier import with_fixed_weights
from epsball.graph import capture
from helpers import Wrapped, convnet

BALL = eb.Ball("linf", 0.05)
SHAPE = (1, 8, 8)


def double(module: nn.Module) -> nn.Module:
    return module.double()


def dense(middle: nn.Module, *after: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), middle, *after, nn.Linear(8, 10))


NETWORKS = {
    "batch norm": lambda: convnet(classes=10),
    "smooth": lambda: dense(nn.Linear(64, 8), nn.LayerNorm(8), nn.GELU()),
    "pooled": lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(3), nn.Sigmoid(), nn.Flatten(), nn.Linear(8, 10)),
    "orthogonal": lambda: dense(parametrizations.orthogonal(nn.Linear(64, 8)), nn.ReLU()),
    "hook": lambda: dense(nn.utils.spectral_norm(nn.Linear(64, 8)), nn.PReLU(8)),
    "lipschitz": lambda: eb.models.load("lipschitz_cnn,width=4,hidden=8", shape=SHAPE, classes=10).module,
}


def batch(n: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.rand(n, *SHAPE, generator=generator).double(), torch.randint(10, (n,), generator=generator)


@pytest.mark.parametrize("method", [interval, crown_ibp])
@pytest.mark.parametrize("name", NETWORKS)
def test_in_evaluation_mode_bounds_are_those_of_the_method(name, method):
    """After the weights have moved away from those that were captured."""
    module, (x, y) = double(NETWORKS[name]()), batch()
    live = LiveNetwork.of(module, SHAPE)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.1 * torch.rand_like(parameter)
    module.eval()
    domain = Domain.of(BALL, x)
    found = method(live.problem(domain, y), parameters=live.clean_pass(module, x).parameters).rows
    graph = capture(with_fixed_weights(module), SHAPE)
    expected = method(Problem.of(graph, domain, y, arithmetic=PLAIN)).rows
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", NETWORKS)
def test_over_points_bounds_are_the_margins_of_training_with_their_gradients(name):
    """Statistics of the batch included; dropout is off in bounds."""
    module, (x, y) = double(NETWORKS[name]()), batch()
    for part in module.modules():
        part.training = not isinstance(part, nn.Dropout)
    live = LiveNetwork.of(module, SHAPE)
    seen = live.clean_pass(module, x)
    rows = interval(live.problem(Domain.at(x), y), parameters=seen.parameters).rows
    margins = (seen.logits.gather(1, y[:, None]) - seen.logits)[functional.one_hot(y, 10) == 0].view(len(y), 9)
    torch.testing.assert_close(rows, margins, rtol=0, atol=1e-9)
    torch.testing.assert_close(live.logits(x, seen.parameters), seen.logits, rtol=0, atol=1e-9)
    weights = torch.rand_like(rows)
    tensors = list(module.parameters())
    ours, theirs = (torch.autograd.grad((weights * z).sum(), tensors, retain_graph=True) for z in (rows, margins))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


def test_running_statistics_move_once_per_batch_and_bounds_move_nothing():
    module, (x, y) = double(convnet(classes=10)), batch()
    live = LiveNetwork.of(module, SHAPE)
    before = module[1].num_batches_tracked.item()
    seen = live.clean_pass(module, x)
    interval(live.problem(Domain.of(BALL, x), y), parameters=seen.parameters)
    assert module[1].num_batches_tracked.item() == before + 1
    assert module.training


def test_masked_classes_have_no_margins():
    module = double(NETWORKS["orthogonal"]())
    mask = torch.zeros(10).double().index_fill_(0, torch.tensor([3, 7]), -torch.inf)
    masked = Wrapped(lambda net, x: net(x) + mask, module)
    x, y = batch(4)
    y = torch.tensor([0, 1, 2, 9])
    live = LiveNetwork.of(masked, SHAPE)
    parameters = live.parameters()
    rows = crown_ibp(live.problem(Domain.of(BALL, x), y), parameters=parameters).rows
    assert rows.shape == (4, 7)
    worst = live.worst_logits(rows, y)
    assert torch.isinf(worst[:, [3, 7]]).all()
    assert torch.isinf(live.logits(x, parameters)[:, [3, 7]]).all()
    alone = LiveNetwork.of(module, SHAPE)
    full = alone.worst_logits(crown_ibp(alone.problem(Domain.of(BALL, x), y), parameters=alone.parameters()).rows, y)
    kept = [0, 1, 2, 4, 5, 6, 8, 9]
    torch.testing.assert_close(worst[:, kept], full[:, kept])


class Standardised(nn.Conv2d):
    """Its weight is computed in its code, and captured as a number."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight / self.weight.norm(), self.bias)


class Functional(nn.Module):
    """A batch norm that is not a layer of PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(64))
        self.register_buffer("variance", torch.ones(64))

    def forward(self, x: Tensor) -> Tensor:
        return functional.batch_norm(x, self.mean, self.variance, training=self.training)


def fourier(net: nn.Module, x: Tensor) -> Tensor:
    return net(torch.fft.rfft2(x).abs().flatten(1))


def twice() -> nn.Module:
    norm = nn.BatchNorm1d(64)
    return nn.Sequential(nn.Flatten(), norm, nn.ReLU(), norm, nn.Linear(64, 10))


@pytest.mark.parametrize(
    ("module", "error", "words"),
    [
        (lambda: nn.Sequential(Standardised(1, 2, 3), nn.Flatten(), nn.Linear(72, 10)), ModelError, "train '0.weight'"),
        (lambda: nn.Sequential(nn.Flatten(), Functional(), nn.Linear(64, 10)), ModelError, "not a torch.nn.BatchNorm"),
        (twice, ModelError, "used twice in one pass"),
        (lambda: Wrapped(fourier, nn.Linear(40, 10)), UnsupportedOperation, "fft"),
    ],
)
def test_what_cannot_be_trained_is_named(module, error, words):
    with pytest.raises(error, match=words):
        LiveNetwork.of(module(), SHAPE)
