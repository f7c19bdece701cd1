"""Sweeps from many places at once find what rows over whole nodes find."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import epsball as eb
from epsball.certificates import FLOAT32, PLAIN, REAL, Box, Domain, propagate
from epsball.certificates.linear.coefficients import Coefficients
from epsball.certificates.linear.places import chunks_of_places, reaches_before
from epsball.certificates.linear.refinement import neurons_to_refine, refiner
from epsball.certificates.linear.relaxations import fuse_all
from epsball.certificates.linear.sweep import sweep
from epsball.certificates.propagation import Propagation
from epsball.graph import Node, capture
from epsball.graph.kinds import Convolution, Subtract


class Residual(nn.Module):
    """A normalisation, then a block whose two ways meet with other windows, then one more convolution."""

    def __init__(self, kernel: int, stride: int, padding: int, dilation: int, groups: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU())
        self.long = nn.Sequential(
            nn.Conv2d(2, 4, kernel, stride, padding, dilation, groups), nn.LeakyReLU(0.1), nn.Conv2d(4, 4, 3, padding=1)
        )
        reach = dilation * (kernel - 1) - 2 * padding
        self.short = nn.Conv2d(2, 4, 1 + max(0, reach), stride, max(0, -reach // 2 + (-reach) % 2))
        self.last = nn.Sequential(nn.ReLU(), nn.Conv2d(4, 2, 2, padding=1), nn.Tanh(), nn.Flatten())

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(self.long(x) - self.short(x))


def dense(bounds: Propagation, node: Node) -> tuple[Tensor, Tensor]:
    """Return both ends of every entry by rows over the whole node."""
    fuse_all(bounds)
    size = bounds.boxes[node.name].low[0].numel()
    units = torch.eye(size, dtype=torch.float64).view(1, size, *node.shape)
    return sweep(bounds, node.name, Coefficients(units)), -sweep(bounds, node.name, Coefficients(-units))


@settings(max_examples=6, deadline=None)
@given(
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    groups=st.integers(1, 2),
    norm=st.sampled_from(["linf", "l2", "l1"]),
    arithmetic=st.sampled_from([PLAIN, REAL, FLOAT32]),
    seed=st.integers(0, 5),
)
def test_places_find_what_whole_rows_find(kernel, stride, padding, dilation, groups, norm, arithmetic, seed):
    torch.manual_seed(seed)
    network = Residual(kernel, stride, padding, dilation, groups).eval()
    x = torch.rand(2, 1, 10, 10)
    try:
        network(x)
    except RuntimeError:
        return
    graph = capture(network, (1, 10, 10))

    def refine(bounds: Propagation, node: Node):
        before = bounds.boxes[node.name]
        found = refiner(max_memory=2**18)(bounds, node)
        wanted = neurons_to_refine(bounds, node)
        if wanted is not None and bool(wanted.any()) and reaches_before(bounds, node) is not None:
            low, high = (end.view_as(before.low) for end in dense(bounds, node))
            high = torch.where(wanted, torch.minimum(before.high, high), before.high)
            assert torch.allclose(found.high, high, rtol=1e-9, atol=1e-9)
            kept = (found.low - before.low).abs() <= 1e-9
            assert bool((kept | ((found.low - torch.maximum(before.low, low)).abs() <= 1e-9)).all())
            still = wanted & (found.high > 0) if arithmetic is PLAIN else torch.zeros_like(wanted)
            expected = torch.where(still, torch.maximum(before.low, low), found.low)
            assert torch.allclose(found.low, expected, rtol=1e-9, atol=1e-9)
        return found

    propagate(graph, Domain.of(eb.Ball(norm, "1/20"), x), arithmetic, refine=refine)


def test_sums_of_convolutions_are_swept_from_places():
    graph = capture(Residual(3, 1, 1, 1, 1).eval(), (1, 16, 16))
    bounds = propagate(graph, Domain.of(eb.Ball("linf", "1/20"), torch.rand(1, 1, 16, 16)), REAL)
    [node] = [node for node in graph.nodes if isinstance(node.kind, Subtract)]
    reached = reaches_before(bounds, node)
    assert reached is not None
    assert reached[graph.input.name].lengths == (7, 7)


@pytest.mark.parametrize("limit", [1, 3, 50])
def test_every_wanted_neuron_is_in_one_chunk(limit):
    torch.manual_seed(0)
    wanted = torch.rand(2, 5, 3, 4) < 0.3
    seen = torch.zeros(2, 5, 12, dtype=torch.int64)
    for examples, places, channels in chunks_of_places(wanted, limit):
        assert len(examples) == 1 or channels.numel() <= limit
        assert channels.shape[1] <= max(1, limit)
        seen[examples.unsqueeze(1), channels, places.unsqueeze(1)] += 1
    assert bool((seen.view(wanted.shape)[wanted] == 1).all())
    assert int(seen.max()) == 1


def test_bounds_in_any_memory_layout_are_refined():
    torch.manual_seed(0)
    graph = capture(Residual(3, 1, 1, 1, 1).eval(), (1, 16, 16))
    bounds = propagate(graph, Domain.of(eb.Ball("linf", "1/20"), torch.rand(1, 1, 16, 16)), REAL)
    node = [node for node in graph.nodes if isinstance(node.kind, Convolution)][-1]
    box, refine = bounds.boxes[node.name], refiner(None)
    expected = refine(bounds, node)
    low, high = (end.clone(memory_format=torch.channels_last) for end in box)
    bounds.boxes[node.name] = Box(low, high)
    found = refine(bounds, node)
    assert bool((expected.low > box.low).any())
    assert torch.equal(found.low, expected.low)
    assert torch.equal(found.high, expected.high)
