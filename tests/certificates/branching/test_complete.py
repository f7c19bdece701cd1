"""Branch and bound against exact enumeration of activation patterns, and how its searches end."""

import functools
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from certificates import networks
from certificates.networks import least_margins, random_relu_net, sampled
from certificates.soundness import RADII, ends
from epsball import Classifier, certify, data, models
from epsball.ball import Ball
from epsball.certificates import FLOAT32, REAL, Arithmetic, Domain, Problem, by_class, complete
from epsball.certificates.branching import example
from epsball.certificates.branching.search import search
from epsball.certificates.branching.search.parts import Part
from epsball.graph import Graph, capture
from epsball_replay import replay

SHAPES = ((3, 3), (6, 6), (4, 4, 4), (8,))


def plane(seed: int, arithmetic: Arithmetic = REAL) -> tuple[Graph, Problem, dict[int, Fraction], Ball]:
    """Return a random network over the plane, the problem of bounding it, and its least margins by class."""
    graph = random_relu_net(seed, hidden=SHAPES[seed % 4], classes=2 + seed % 2)
    x = torch.rand(1, 2, generator=torch.Generator().manual_seed(seed))
    ball = Ball("linf", Fraction(RADII[seed // 4 % 4]))
    predicted = graph(x).argmax(dim=1)
    truth = least_margins(graph, *ends(x[0], ball), int(predicted))
    return graph, Problem.of(graph, Domain.of(ball, x), predicted, arithmetic=arithmetic), truth, ball


@pytest.mark.parametrize("seed", [*range(13), *range(14, 21)])
def test_the_least_margin_is_found_to_the_gap(seed):
    graph, problem, truth, _ = plane(seed)
    predicted = graph(problem.domain.centre.float()).argmax(dim=1)
    found = by_class(complete(problem, gap=1e-7).rows, predicted)[0].tolist()
    for j, least in truth.items():
        assert found[j] <= least
        assert found[j] > float(least) - 2e-7


@pytest.mark.parametrize("early", [False, True], ids=["parts first", "envelopes and conditions at once"])
@pytest.mark.parametrize("arithmetic", [REAL, FLOAT32], ids=lambda claim: claim.name)
def test_what_is_positive_is_proved_and_nothing_else(arithmetic, early, monkeypatch):
    if early:
        monkeypatch.setattr("epsball.certificates.branching.complete.PARTS_AT_ONCE", 1)
        monkeypatch.setattr(example, "SHORT", 0)
        monkeypatch.setattr(example, "ENVELOPED", 0)
    decided = 0
    for seed in range(0, 40, 2):
        graph, problem, truth, _ = plane(seed, arithmetic)
        predicted = graph(problem.domain.centre.float()).argmax(dim=1)
        found = complete(problem)
        bounds = by_class(found.rows, predicted)[0].tolist()
        assert all(bounds[j] <= least for j, least in truth.items())
        if min(truth.values()) > 1e-3:
            assert bool((found.rows > 0).all())
            decided += 1
        else:
            assert 0 not in found.searched or found.searched[0].ending in ("witness", "rounding")
    assert decided > 5


@pytest.mark.parametrize("seed", [5, 6, 13, 21, 29])
def test_no_part_has_a_bound_above_its_own_least_margin(seed, monkeypatch):
    """Every part of every tree, split or closed, against the polygons on which the network is affine."""
    graph, problem, _, ball = plane(seed)
    parts: list[Part] = []
    made = search.Search._part

    def recorded(*arguments) -> Part:
        parts.append(made(*arguments))
        return parts[-1]

    monkeypatch.setattr(search.Search, "_part", recorded)
    # Without descent the minimum is found by splitting alone.
    monkeypatch.setattr(search.Search, "_descend", lambda *_: None)
    found = complete(problem, gap=1e-7)
    low, high = ends(problem.domain.centre[0].float(), ball)
    cells = affine_cells(graph, low, high)
    names = [name for name in graph.parameters if name.startswith("w")]
    order = [f"z{number}" for number in range(len(names) - 1)]
    units = units_of(found, graph, order)
    assert len(parts) > 3
    for part in parts:
        least = torch.inf
        for points, values in cells:
            inside = all(sign * values[units[unit]] >= -1e-9 for unit, sign in part.path)
            if inside:
                margins = points @ problem.specification[0, part.row]
                least = min(least, float(margins.min()))
        assert part.bound <= least + 1e-9, part.path


def units_of(found, graph: Graph, order: list[str]) -> list[tuple[str, int]]:
    """Return what entry of which node each rectifier of the search is: those that are unstable by the boxes."""
    units = []
    for name in order:
        low, high = (end[0] for end in found.boxes[name])
        units += [(name, int(at)) for at in torch.nonzero((low < 0) & (high > 0)).flatten()]
    return units


def affine_cells(graph: Graph, low, high) -> list[tuple[Tensor, dict]]:
    """Return for each polygon of one activation pattern the logits at its corners, and signs of its neurons."""
    corners = [(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1])]
    layers = []
    for i in range(sum(name.startswith("w") for name in graph.parameters)):
        weight = [[Fraction(w) for w in row] for row in graph.parameters[f"w{i}"].tolist()]
        layers.append((weight, [Fraction(b) for b in graph.parameters[f"b{i}"].tolist()]))
    unit = ([[Fraction(1), Fraction(0)], [Fraction(0), Fraction(1)]], [Fraction(0), Fraction(0)])
    parameters = {name: tensor.double() for name, tensor in graph.parameters.items()}
    cells = []
    for polygon, _ in networks._regions(corners, unit, layers):
        points = torch.tensor([[float(value) for value in corner] for corner in polygon], dtype=torch.float64)
        values = graph.values(points.mean(dim=0, keepdim=True), parameters)
        signs = {(name, at): float(z) for name in values for at, z in enumerate(values[name][0])}
        cells.append((graph(points, parameters), signs))
    return cells


class Residual(nn.Module):
    """A skip over a convolution, and four kinds of kink."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.slope, self.last = nn.PReLU(3), nn.Linear(48, 3)

    def forward(self, x: Tensor) -> Tensor:
        z = nn.functional.relu6(4 * self.one(x) + 3)
        z = self.slope(0.2 * z + self.two(z))
        return self.last(nn.functional.leaky_relu(z.flatten(1) - z.abs().flatten(1) / 2, 0.2))


def dense() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 10), nn.Hardtanh(-0.3, 0.4), nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 3))


@functools.cache
def captured(build: type | Callable, shape: tuple[int, ...]) -> Graph:
    torch.manual_seed(1)
    return capture(build().eval().requires_grad_(False), shape)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize(("shape", "build"), [((1, 4, 4), Residual), ((6,), dense)], ids=["residual", "dense"])
def test_every_kink_and_norm_bounds_what_is_sampled(shape, build, norm):
    graph, x = captured(build, shape), torch.rand(1, *shape, generator=torch.Generator().manual_seed(len(norm)))
    ball = Ball(norm, {"linf": "1/8", "l2": "1/3", "l1": "1"}[norm])
    predicted = graph(x).argmax(dim=1)
    logits = graph(sampled(ball, x, 2000)).double()
    for arithmetic, gap in ((FLOAT32, None), (REAL, 1e-3)):
        problem = Problem.of(graph, Domain.of(ball, x), predicted, arithmetic=arithmetic)
        start, found = complete(problem, parts=0, gap=gap), complete(problem, parts=100, gap=gap)
        assert bool((found.rows >= start.rows - (gap or 0)).all())
        assert bool((found.rows[0] <= logits @ problem.specification[0].T + 1e-6).all())


def test_a_minimum_is_approached_from_below_over_l2():
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2)).requires_grad_(False)
    graph, x = capture(module, (3,)), torch.full((1, 3), 0.5)
    predicted, ball = graph(x).argmax(dim=1), Ball("l2", "1/2", None, None)
    problem = Problem.of(graph, Domain.of(ball, x), predicted, arithmetic=REAL)
    logits = graph(sampled(ball, x, 20000)).double()
    least = (logits[:, predicted[0]] - logits[:, 1 - predicted[0]]).min()
    bounds = [float(complete(problem, parts=parts, gap=1e-6).rows.min()) for parts in (0, 20, 200)]
    assert all(one <= other + 1e-9 for one, other in pairwise(bounds))
    assert bounds[-1] <= float(least) < bounds[-1] + 0.05


def wide(seed: int = 0) -> Problem:
    """Return a problem that takes hundreds of parts."""
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 2))
    graph, x = capture(module.requires_grad_(False), (8,)), torch.rand(1, 8)
    predicted, ball = graph(x).argmax(dim=1), Ball("linf", "1/6")
    return Problem.of(graph, Domain.of(ball, x), predicted)


def test_passes_limit_a_search_and_the_same_passes_find_the_same(monkeypatch):
    problem = wide()
    whole = complete(problem, gap=1e-4)
    assert whole.searched[0].ending == "proved"
    spent = whole.passes[0]
    halves = [complete(replace(problem, budget=spent // 2), gap=1e-4) for _ in range(2)]
    assert halves[0].searched[0].ending == "passes"
    assert torch.equal(halves[0].rows, halves[1].rows)
    assert float(halves[0].rows) < float(whole.rows)
    few = complete(replace(problem, max_memory=2**16), gap=1e-4)
    assert float(few.rows) == pytest.approx(float(whole.rows), abs=2e-4)


def test_time_limits_a_search_and_its_best_bound_is_kept():
    problem = wide()
    found = complete(replace(problem, cpu_seconds=1e-9), gap=1e-4)
    assert found.searched[0].ending == "time"
    assert -torch.inf < float(found.rows) <= float(complete(problem, gap=1e-4).rows)


def test_certify_says_how_searches_ended():
    torch.manual_seed(2)
    module = nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 3))
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    classifier, x = Classifier(module), torch.rand(12, 4)
    y = classifier.logits(x).argmax(dim=1)
    found = certify(classifier, x, y, Ball("linf", "1/8"), method="complete")
    decided = found.certified | torch.tensor([found.endings.get(at) == "witness" for at in range(12)])
    assert bool(decided.all())
    assert 0 < int(found.certified.sum()) < 12, found.margin
    assert f"{len(found.endings)} witness" in str(found)
    stopped = certify(classifier, x, y, Ball("linf", "1/8"), method="complete", cpu_seconds=1e-9)
    assert set(stopped.endings.values()) <= {"time", "witness"}
    assert bool((stopped.certified <= found.certified).all())


def test_every_claim_stands_on_the_bounds_of_its_file(shared, tmp_path):
    """Of this image a row has a positive bound before its neurons are tightened and, by other slopes, none after."""
    network = models.load(
        f"cnn_a@{shared / 'models' / 'abcrown' / 'mnist_cnn_a_adv.model'}", shape=(1, 28, 28), classes=10
    )
    source = data.load(f"idx:{shared / 'data' / 'mnist'},split=test")
    x, y = source.take(torch.nonzero(torch.as_tensor(source.positions) == 220)[:, 0].tolist())
    found = certify(network.classifier(), data.as_pixels(x), y, Ball("linf", "0.3"), method="complete", folder=tmp_path)
    assert replay(found.files[0]).accepted
