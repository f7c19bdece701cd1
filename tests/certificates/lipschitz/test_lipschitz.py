"""Lipschitz constants: upper bounds of every norm, attained or nearly so; certificates that hold."""

import itertools

import pytest
import torch
from torch import nn

from epsball import Classifier, certify
from epsball.ball import Ball
from epsball.certificates import FLOAT32, REAL, Domain, Problem, lipschitz, lipschitz_constants, margin_rows, propagate
from epsball.certificates.lipschitz import convolution_bound, local_constants, spectral_bound
from epsball.certificates.lipschitz.factors import largest_slope
from epsball.certificates.verifier import with_fixed_weights
from epsball.errors import UnsupportedOperation
from epsball.graph import capture, kinds
from epsball.models.architectures import lipschitz_cnn


def jacobians(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return the Jacobian at each row of x, (n, classes, inputs)."""
    x = x.clone().requires_grad_()
    rows = [torch.autograd.grad(column.sum(), x, retain_graph=True)[0].flatten(1) for column in net(x).unbind(1)]
    return torch.stack(rows, dim=1)


@pytest.mark.parametrize("shape", [(3, 7), (40, 12), (1, 1), (30, 30)])
def test_dense_norms_are_bounded_tightly_and_never_from_below(shape):
    torch.manual_seed(0)
    for scale in (1e-30, 1.0, 1e30):
        matrix = torch.randn(shape, dtype=torch.float64) * scale
        true = float(torch.linalg.matrix_norm(matrix, 2))
        assert true <= float(spectral_bound(matrix)) <= true * 1.03
    assert float(spectral_bound(torch.zeros(shape, dtype=torch.float64))) < 1e-100


def test_an_orthogonal_matrix_has_norm_one_within_rounding():
    matrix = torch.linalg.qr(torch.randn(50, 50, dtype=torch.float64)).Q
    bound = float(spectral_bound(matrix))
    assert 1 <= bound <= 50 ** (1 / 2**8) * (1 + 1e-9)


OPTIONS = list(itertools.product([1, 2, 3], [0, 1, 2], [1, 2], [1, 2], [3, 4]))


@pytest.mark.parametrize(("stride", "padding", "dilation", "groups", "kernel"), OPTIONS)
def test_convolutions_are_bounded_whatever_their_attributes(stride, padding, dilation, groups, kernel):
    torch.manual_seed(stride + 10 * kernel)
    layer = nn.Conv2d(2, 4, kernel, stride, padding, dilation=dilation, groups=groups, bias=False, dtype=torch.float64)
    images = torch.eye(2 * 9 * 9, dtype=torch.float64).reshape(-1, 2, 9, 9)
    with torch.no_grad():
        result = layer(images)
    true = float(torch.linalg.matrix_norm(result.flatten(1), 2))
    kind = kinds.Convolution(
        weight="w", stride=(stride,) * 2, padding=(padding,) * 2, dilation=(dilation,) * 2, groups=groups
    )
    bound = convolution_bound(kind, layer.weight.detach(), tuple(result.shape[2:]))
    assert true <= bound <= 2.0 * true


NETWORKS = {
    "plain": lambda: nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(36, 4)),
    "smooth": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(36, 9), nn.GELU(), nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, 4)
    ),
    "normalised": lambda: nn.Sequential(
        nn.Conv2d(1, 3, 3),
        nn.BatchNorm2d(3),
        nn.LeakyReLU(0.2),
        nn.MaxPool2d(3, 1),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(3, 4),
    ),
    "sorted": lambda: lipschitz_cnn((1, 8, 8), 4, width=4, hidden=8),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("norm", "order"), [("l2", 2), ("linf", float("inf")), ("l1", 1)])
def test_global_constants_are_above_every_jacobian(name, norm, order):
    torch.manual_seed(3)
    net = NETWORKS[name]().eval()
    side = 8 if name == "sorted" else 6
    plain = Classifier(net).network
    graph = capture(with_fixed_weights(plain), (1, side, side))
    constants = lipschitz_constants(graph, norm)
    pairs = margin_rows(torch.zeros(1, dtype=torch.int64), 4)
    rows = constants.of_rows(pairs)[0]
    double = net.double()
    for matrix in jacobians(double, torch.rand(20, 1, side, side, dtype=torch.float64)):
        assert float(torch.linalg.matrix_norm(matrix, order)) <= constants.total
        dual = torch.linalg.vector_norm(pairs[0] @ matrix, {"l2": 2, "linf": 1, "l1": float("inf")}[norm], dim=1)
        assert bool((dual <= rows).all())


@pytest.mark.parametrize("name", ["plain", "smooth"])
@pytest.mark.parametrize("norm", ["l2", "linf", "l1"])
def test_local_constants_are_above_jacobians_on_the_ball_and_below_those_of_larger_balls(name, norm):
    torch.manual_seed(4)
    net = NETWORKS[name]().eval()
    graph, x = capture(net, (1, 6, 6)), torch.rand(3, 1, 6, 6)
    pairs = margin_rows(torch.tensor([0, 1, 2]), 4)
    balls = [Ball(norm, radius) for radius in (0.01, 0.05, 0.2)]
    found = []
    for ball in balls:
        bounds = propagate(graph, Domain.of(ball, x), FLOAT32)
        found.append(local_constants(bounds, pairs, norm))
    assert bool((found[0] <= found[1] * (1 + 1e-9)).all() and (found[1] <= found[2] * (1 + 1e-9)).all())
    double, dual = net.double(), {"l2": 2, "linf": 1, "l1": float("inf")}[norm]
    for example, row, bound in zip(x, pairs, found[1], strict=True):
        many = example.expand(30, 1, 6, 6).contiguous()
        points = balls[1].at(many).project(many + 0.05 * torch.randn(30, 1, 6, 6))
        assert bool((torch.linalg.vector_norm(row @ jacobians(double, points.double()), dual, dim=2) <= bound).all())


@pytest.mark.parametrize("arithmetic", [REAL, FLOAT32])
@pytest.mark.parametrize("norm", ["l2", "linf", "l1"])
def test_the_certificate_holds_at_sampled_points(norm, arithmetic):
    torch.manual_seed(5)
    net = NETWORKS["normalised"]().eval()
    graph, x = capture(net, (1, 6, 6)), torch.rand(4, 1, 6, 6)
    ball = Ball(norm, {"l2": 0.1, "linf": 0.01, "l1": 0.3}[norm])
    problem = Problem.of(graph, Domain.of(ball, x), net(x).argmax(1), arithmetic=arithmetic)
    for example, rows, least in zip(x, problem.specification, lipschitz(problem).rows, strict=True):
        many = example.expand(400, 1, 6, 6).contiguous()
        points = ball.at(many).project(many + float(ball.radius) * torch.randn(400, 1, 6, 6))
        with torch.no_grad():
            logits = net(points).double()
        assert bool((logits @ rows.T >= least - (0 if arithmetic is FLOAT32 else 1e-5)).all())


def test_what_has_no_constant_is_named():
    class Squared(nn.Module):
        def forward(self, x):
            return (x * x).flatten(1)

    graph = capture(Squared(), (3,))
    with pytest.raises(UnsupportedOperation, match="no finite Lipschitz constant"):
        lipschitz_constants(graph)


@pytest.mark.parametrize(
    "function",
    ["relu", "gelu", "gelu_tanh", "silu", "mish", "hardswish", "sigmoid", "tanh", "erf", "softplus", "sin", "cos"],
)
def test_constants_of_functions_are_above_and_near_their_steepest_slope(function):
    z = torch.linspace(-8, 8, 160001, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(kinds.FUNCTIONS[function](z).sum(), z)
    steepest = float(slope.abs().max())
    found = largest_slope(kinds.Elementwise(function=function))
    assert found is not None
    assert steepest <= found <= steepest + 1e-3


def test_orthogonal_layers_have_norm_one_and_still_learn():
    torch.manual_seed(0)
    net = lipschitz_cnn((1, 8, 8), 4, width=4, hidden=8, scale=1.0)
    for parameter in net.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    x, y = torch.rand(16, 1, 8, 8), torch.arange(16) % 4
    losses = []
    optimiser = torch.optim.Adam(net.parameters(), 0.05)
    for _ in range(30):
        loss = nn.functional.cross_entropy(20 * net(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert lipschitz_constants(capture(with_fixed_weights(net.eval()), (1, 8, 8))).total <= 1.01
    assert float(torch.linalg.vector_norm(net(x)[0] - net(x + 0.01)[0]).detach()) <= 0.01 * 8
    clf = Classifier(net)
    assert bool((certify(clf, x, y, Ball("l2", 0.001), method="lipschitz").stable).any())


def test_rounding_hardly_weakens_the_certificates_of_a_deep_network_in_float32():
    torch.manual_seed(0)
    net = lipschitz_cnn((1, 16, 16), 4, width=8, hidden=64, scale=8.0).eval()
    graph = capture(with_fixed_weights(net), (1, 16, 16))
    x = torch.rand(3, 1, 16, 16)
    domain, top = Domain.of(Ball("l2", 0.5), x), net(x).argmax(dim=1)
    rows = {claim: lipschitz(Problem.of(graph, domain, top, arithmetic=claim)) for claim in (REAL, FLOAT32)}
    lost = rows[REAL].rows - rows[FLOAT32].rows
    assert (lost > 0).all()
    assert (lost < 0.02 * 0.5 * 8 * 2**0.5).all()
    # What the deployed network computes anywhere in the ball lies in the boxes that this stands on.
    move = torch.randn(200, 1, 16, 16)
    points = (x[:1] + 0.499 * move / move.flatten(1).norm(dim=1).view(-1, 1, 1, 1)).clamp(0, 1)
    values = graph.values(points, graph.parameters)
    for name, box in rows[FLOAT32].boxes.items():
        assert bool(((values[name] >= box.low[:1]) & (values[name] <= box.high[:1])).all()), name


def test_a_box_that_is_no_ball_is_bounded_to_its_corners():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2)).eval().requires_grad_(False)
    low, high = torch.tensor([[0.0, 0.2]]), torch.tensor([[1.0, 0.4]])
    problem = Problem.of(capture(net, (2,)), Domain.of_box(low, high), torch.tensor([0]))
    logits = net(low + (high - low) * torch.rand(10000, 2))
    assert float(lipschitz(problem).rows) <= float((logits[:, 0] - logits[:, 1]).min())
    centre = net((low + high) / 2)[0]
    assert float(lipschitz(problem).rows) < float(centre[0] - centre[1])


class Formula(nn.Module):
    """A function of x, without parameters, and a linear layer after it."""

    def __init__(self, function, width: int) -> None:
        super().__init__()
        self.function, self.last = function, nn.Linear(width, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.function(x))


def test_entries_sorted_against_several_others_are_counted_as_often_as_they_appear():
    def sort(x):
        first, others = x[:, :1], x[:, 1:]
        return torch.cat([torch.maximum(first, others), torch.minimum(first, others)], dim=1)

    graph = capture(Formula(sort, 4), (3,))
    moves = torch.func.jacrev(lambda point: sort(point.unsqueeze(0))[0])(torch.tensor([0.9, 0.1, 0.2]))
    (last,) = graph[graph.output].inputs
    assert lipschitz_constants(graph).forward[last] >= float(torch.linalg.matrix_norm(moves, 2)) > 1.4


@pytest.mark.parametrize("value", [-3.0, 1e12])
def test_a_border_of_any_value_moves_nothing(value):
    layer = nn.Linear(6, 3)
    total = lipschitz_constants(capture(nn.Sequential(nn.ConstantPad1d(1, value), layer), (4,))).total
    assert total == pytest.approx(float(torch.linalg.matrix_norm(layer.weight.detach(), 2)), rel=0.03)


def test_constants_within_a_network_keep_its_local_certificate():
    torch.manual_seed(0)
    net = Formula(lambda x: torch.relu((x - torch.tensor([0.5, 0.4, 0.3, 0.2])) / 0.3), 4)
    x = torch.rand(3, 4)
    found = certify(Classifier(net.eval()), x, net(x).argmax(1), Ball("l2", 0.001), method="lipschitz")
    assert bool(found.stable.all())


class Shifted(nn.Module):
    """A linear layer plus (large + 1) - large, in float32 another number than in the reals."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.large, self.one = (
            nn.Linear(4, 3),
            nn.Parameter(torch.full((3,), 2.0**25)),
            nn.Parameter(torch.ones(3)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + ((self.large + self.one) - self.large)


def test_rounding_of_a_computed_constant_is_no_move_of_the_input():
    torch.manual_seed(0)
    net, x = Shifted().eval(), torch.rand(2, 4)
    found = certify(Classifier(net), x, net(x).argmax(1), Ball("l2", 0.001), method="lipschitz")
    assert not bool(found.stable.any())
