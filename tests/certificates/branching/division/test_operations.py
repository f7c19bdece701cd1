"""Searches by boxes of networks with products, softmax and maxima of two values, against a grid of points."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from epsball.ball import Ball
from epsball.certificates import FLOAT32, REAL, Domain, Problem, complete
from epsball.certificates.branching.division import search
from epsball.certificates.branching.kinks import unsplittable
from epsball.graph import Graph, capture

BALL = Ball("linf", "2/5")


class Gated(nn.Module):
    """Products of two values that both vary."""

    def __init__(self) -> None:
        super().__init__()
        self.value, self.gate, self.last = nn.Linear(2, 6), nn.Linear(2, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.value(x) * torch.sigmoid(self.gate(x)))


class Attending(nn.Module):
    """Values weighted by a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.score, self.value, self.last = nn.Linear(2, 5), nn.Linear(2, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.softmax(self.score(x), dim=1) * self.value(x))


class Greater(nn.Module):
    """The greater of two values, entry by entry."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other, self.last = nn.Linear(2, 6), nn.Linear(2, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.maximum(self.one(x), torch.tanh(self.other(x))))


def network(made: type[nn.Module], seed: int) -> tuple[Graph, Tensor]:
    torch.manual_seed(seed)
    module = made()
    for parameter in module.parameters():
        parameter.data *= 2
    return capture(module.eval(), (2,)), torch.rand(1, 2)


def least_sampled(graph: Graph, x: Tensor, specification: Tensor) -> Tensor:
    """Return the least of each row over a grid of points."""
    side = torch.linspace(-0.4, 0.4, 81)
    grid = torch.cartesian_prod(side, side)
    points = BALL.project(x + grid, x.expand_as(grid))
    double = {key: tensor.double() for key, tensor in graph.parameters.items()}
    return (graph(points.double(), double) @ specification[0].T).amin(dim=0)


@pytest.mark.parametrize("made", [Gated, Attending, Greater])
def test_parts_bring_bounds_nearer_to_the_least_and_never_above(made):
    graph, x = network(made, 1)
    problem = Problem.of(graph, Domain.of(BALL, x), graph(x).argmax(dim=1), arithmetic=REAL)
    assert unsplittable(graph, problem.propagate()) is not None
    least = least_sampled(graph, x, problem.specification)
    gaps = []
    for parts in (1, 40):
        rows = complete(problem, parts=parts, gap=1e-4).rows[0]
        assert (rows <= least + 1e-12).all()
        gaps.append(float((least - rows).max()))
    assert gaps[1] < 0.5 * gaps[0]


@pytest.mark.parametrize("made", [Gated, Attending, Greater])
@pytest.mark.parametrize("arithmetic", [REAL, FLOAT32], ids=lambda claim: claim.name)
def test_positive_margins_are_proved_and_others_are_met_by_a_point(made, arithmetic):
    graph, x = network(made, 0)
    predicted = graph(x).argmax(dim=1)
    least = float(least_sampled(graph, x, Problem.of(graph, Domain.of(BALL, x), predicted).specification).min())
    bias = next(name for name in graph.parameters if name.endswith("last.bias"))
    for wanted in (0.05, -0.05):
        moved = graph.parameters[bias].clone()
        moved[predicted] += wanted - least
        raised = replace(graph, parameters={**graph.parameters, bias: moved})
        problem = Problem.of(raised, Domain.of(BALL, x), predicted, arithmetic=arithmetic)
        found = complete(problem, parts=2000)
        assert bool((found.rows > 0).all()) == (wanted > 0)
        if wanted < 0:
            searched = found.searched[0]
            assert searched.ending == "witness"
            point = searched.witness.view(1, 2)  # pyright: ignore[reportOptionalMemberAccess]
            assert int(raised(point.float()).argmax()) != int(predicted)


def test_a_tree_too_large_to_keep_proves_its_rows_and_says_so(monkeypatch):
    graph, x = network(Gated, 0)
    predicted = graph(x).argmax(dim=1)
    least = float(least_sampled(graph, x, Problem.of(graph, Domain.of(BALL, x), predicted).specification).min())
    bias = next(name for name in graph.parameters if name.endswith("last.bias"))
    moved = graph.parameters[bias].clone()
    moved[predicted] += 0.05 - least
    raised = replace(graph, parameters={**graph.parameters, bias: moved})
    problem = Problem.of(raised, Domain.of(BALL, x), predicted, arithmetic=REAL)
    kept = complete(problem)
    assert kept.searched[0].recorded
    assert kept.trees[0]
    monkeypatch.setattr(search, "_RECORDED", 10)
    found = complete(problem)
    assert (found.rows > 0).all()
    assert torch.equal(found.rows, kept.rows)
    assert not found.searched[0].recorded
    assert len(found.trees[0]) < len(kept.trees[0])
