"""Searches by boxes: what is bounded against dense samples and exact minima, and proofs against the checker."""

import base64
import copy
import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from certificates.networks import sampled
from epsball.ball import Ball
from epsball.certificates import FLOAT32, REAL, Domain, Problem, complete
from epsball.certificates.branching.division.boxes import Boxes
from epsball.certificates.branching.division.search import BoxSearch
from epsball.certificates.branching.search.parts import Limits
from epsball.certificates.branching.tree import Division
from epsball.certificates.cascade import Proof
from epsball.certificates.linear import refiner
from epsball.certificates.linear.sweep import final_bounds
from epsball.certificates.replay.export import export_certificate
from epsball.certificates.replay.files import write_model
from epsball.graph import Graph, capture
from epsball_replay import ReplayError, replay


def smooth(first: nn.Module, second: nn.Module, inputs: int = 2) -> nn.Sequential:
    layers = [nn.Linear(inputs, 8), first, nn.Linear(8, 8), second, nn.Linear(8, 3)]
    return nn.Sequential(*layers)


NETWORKS = {
    "tanh and sigmoid": ((2,), lambda: smooth(nn.Tanh(), nn.Sigmoid())),
    "gelu": ((2,), lambda: smooth(nn.GELU(), nn.SiLU())),
    "no small input": ((70,), lambda: smooth(nn.Sigmoid(), nn.Tanh(), 70)),
    "max pooling": (
        (1, 6, 6),
        lambda: nn.Sequential(
            *(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 6), nn.Tanh()),
            nn.Linear(6, 3),
        ),
    ),
}
RADII = {"no small input": "1/20", "max pooling": "1/10"}


def network(name: str, seed: int) -> tuple[Graph, torch.Tensor, Ball]:
    shape, made = NETWORKS[name]
    torch.manual_seed(seed)
    module = made()
    for parameter in module.parameters():
        parameter.data *= 2.5
    return capture(module.eval(), shape), torch.rand(1, *shape), Ball("linf", RADII.get(name, "1/2"))


def raised(graph: Graph, x: torch.Tensor, ball: Ball, arithmetic) -> tuple[Problem, int]:
    """Return a problem whose least margin is a little above what splits find it to be at least."""
    predicted = graph(x).argmax(dim=1)
    least = float(
        complete(Problem.of(graph, Domain.of(ball, x), predicted, arithmetic=REAL), parts=60, gap=0.02).rows.min()
    )
    (last,) = (name for name in graph.parameters if name == graph[graph.output].kind.bias)  # pyright: ignore[reportAttributeAccessIssue]
    bias = graph.parameters[last].clone()
    bias[predicted] += 0.01 - least
    moved = replace(graph, parameters={**graph.parameters, last: bias})
    return Problem.of(moved, Domain.of(ball, x), predicted, arithmetic=arithmetic), int(predicted)


@pytest.mark.parametrize("name", NETWORKS)
def test_bounds_are_below_dense_samples_and_better_than_at_the_root(name):
    better = 0
    for seed in (0,):
        graph, x, ball = network(name, seed)
        predicted = graph(x).argmax(dim=1)
        problem = Problem.of(graph, Domain.of(ball, x), predicted, arithmetic=REAL)
        found = complete(problem, parts=100, gap=1e-3)
        root = complete(problem, parts=1, gap=1e-3)
        double = {key: tensor.double() for key, tensor in graph.parameters.items()}
        logits = graph(sampled(ball, x, 4000).double(), double)
        margins = logits[:, predicted] - logits
        least = margins[:, torch.arange(3) != predicted].amin(dim=0)
        assert (found.rows[0] <= least + 1e-12).all()
        assert (found.rows >= root.rows - 1e-9).all()
        better += int((found.rows > root.rows + 1e-3).any())
    assert better


@pytest.mark.parametrize(("name", "arithmetic"), [(name, FLOAT32) for name in NETWORKS if name != "gelu"])
def test_proofs_are_derived_again(name, arithmetic, tmp_path):
    graph, x, ball = network(name, 0)
    problem, predicted = raised(graph, x, ball, arithmetic)
    found = complete(problem)
    assert (found.rows > 0).all()
    assert any(isinstance(tree, Division) for tree in found.trees[0])
    path = written(tmp_path, problem, found, predicted, ball)
    assert replay(path).stable


def written(folder: Path, problem: Problem, found, predicted: int, ball: Ball) -> Path:
    path = folder / "certificate.json.gz"
    proof = Proof(method="complete", predicted=predicted, problem=problem, bounds=found)
    export_certificate(path, proof, ball, write_model(problem.graph, folder))
    return path


def _drop_piece(tree: dict) -> None:
    tree["pieces"] = tree["pieces"][:-1]


def _extra_piece(tree: dict) -> None:
    tree["pieces"].append(tree["pieces"][0])


def _negative(tree: dict) -> None:
    tree["multipliers"] = tree["multipliers"][:1] and _numbers([-1.0] * _count(tree["multipliers"]))


def _unknown_node(tree: dict) -> None:
    tree["nodes"] = ["nowhere"] * len(tree["nodes"])


def _unknown_refined(tree: dict) -> None:
    tree["pieces"][0]["refined"] = ["nowhere"]


def _not_finite(tree: dict) -> None:
    tree["kinks"] = _numbers([float("nan")] * _count(tree["kinks"]))


def _numbers(values: list[float]) -> str:
    return base64.b64encode(torch.tensor(values, dtype=torch.float64).numpy().tobytes()).decode()


def _count(text: str) -> int:
    return len(base64.b64decode(text)) // 8


TAMPERED = [_drop_piece, _extra_piece, _negative, _unknown_node, _unknown_refined, _not_finite]


def test_tampered_proofs_are_not_accepted(tmp_path):
    graph, x, ball = network("tanh and sigmoid", 0)
    problem, predicted = raised(graph, x, ball, REAL)
    path = written(tmp_path, problem, complete(problem), predicted, ball)
    whole = json.loads(gzip.decompress(path.read_bytes()))
    assert replay(path).stable
    for change in TAMPERED:
        data = copy.deepcopy(whole)
        for tree in data["trees"].values():
            change(tree)
        path.write_bytes(gzip.compress(json.dumps(data).encode()))
        with pytest.raises(ReplayError):
            replay(path)
    data = copy.deepcopy(whole)
    data["claims"] = {j: float(1).hex() for j in data["claims"]}
    path.write_bytes(gzip.compress(json.dumps(data).encode()))
    assert not replay(path).accepted


@pytest.mark.parametrize("neurons", [False, True], ids=["input", "input and neurons"])
@pytest.mark.parametrize("seed", range(3))
def test_every_part_is_below_its_own_samples_and_parts_cover(seed, neurons):
    graph, x, ball = network("tanh and sigmoid", seed)
    predicted = graph(x).argmax(dim=1)
    problem = Problem.of(graph, Domain.of(ball, x), predicted, arithmetic=REAL)
    bounds = problem.propagate(refine=refiner())
    search = BoxSearch(problem, bounds, neurons=neurons)
    search.start([0, 1], [-10.0, -10.0])
    search.run(Limits(parts=40, gap=1e-6))
    check_parts(search, problem, sampled(ball, x, 3000).double())


def check_parts(search: BoxSearch, problem: Problem, points: torch.Tensor) -> None:
    """Check that parts, those that lines refute among them, cover the points, and lie below the margins there."""
    graph, values = problem.graph, {}
    double = {key: tensor.double() for key, tensor in graph.parameters.items()}
    for node in graph.nodes:
        taken = [values[name] for name in node.inputs]
        values[node.name] = points if node is graph.input else node.kind.forward(*taken, parameters=double)
    margins = values[graph.output] @ problem.specification[0].T
    covered = torch.zeros(len(points), 2, dtype=torch.bool)
    for number, value in {**search._tree.open, **{n: v for n, (v, _) in search._tree.leaves.items()}}.items():
        inside = torch.ones(len(points), dtype=torch.bool)
        for split, sign in search._tree.path(number):
            inside &= sign * (values[split.node].flatten(1)[:, split.entry] - split.kink) >= 0
        row = search._tree.origin(number)
        covered[inside, row] = True
        assert not inside.any() or float(margins[inside, row].min()) >= value - 1e-9
    assert covered.all()


@pytest.mark.parametrize("neurons", [False, True], ids=["input", "input and neurons"])
def test_lines_refute_what_is_clipped_and_what_is_left_counts_as_the_whole(neurons):
    clipped = 0
    for seed in range(3):
        graph, x, ball = network("tanh and sigmoid", seed)
        problem, _ = raised(graph, x, ball, REAL)
        bounds = problem.propagate(refine=refiner())
        search = BoxSearch(problem, bounds, neurons=neurons)
        search.start([0, 1], final_bounds(bounds, problem.specification)[0].tolist())
        search.run(Limits(parts=4))
        check_parts(search, problem, sampled(ball, x, 3000).double())
        assert search.closed < 1 or search.ending == "proved"
        search.run(Limits(parts=4000))
        assert search.ending == "proved"
        assert search.closed == pytest.approx(1)
        check_parts(search, problem, sampled(ball, x, 3000).double())
        clipped += len(search._tree.beyond)
    assert clipped


def test_clips_that_are_moved_or_of_other_pieces_are_not_accepted(tmp_path):
    graph, x, ball = network("tanh and sigmoid", 0)
    problem, predicted = raised(graph, x, ball, REAL)
    path = written(tmp_path, problem, complete(problem), predicted, ball)
    whole = json.loads(gzip.decompress(path.read_bytes()))
    assert replay(path).stable
    name = next(j for j, tree in whole["trees"].items() if _shape(tree)[:, 1][_shape(tree)[:, 0] < 0].max() >= 0)
    shape = _shape(whole["trees"][name])
    leaves = shape[:, 0] < 0
    assert len(shape[leaves, 1].unique()) < int(leaves.sum())
    refused = 0
    for change in (torch.full_like(shape[leaves, 1], 2**20), 0 * shape[leaves, 1], shape[leaves, 1].flip(0)):
        data = copy.deepcopy(whole)
        changed = shape.clone()
        changed[leaves, 1] = change
        data["trees"][name]["shape"] = base64.b64encode(changed.to(torch.int32).numpy().tobytes()).decode()
        path.write_bytes(gzip.compress(json.dumps(data).encode()))
        refused += not _accepted(path)
    assert refused >= 2
    kinks = torch.frombuffer(bytearray(base64.b64decode(whole["trees"][name]["kinks"])), dtype=torch.float64)
    data = copy.deepcopy(whole)
    # Every cut at the middle of all: what lies beyond is not refuted by the lines.
    data["trees"][name]["kinks"] = _numbers(torch.full_like(kinks, float(x.mean())).tolist())
    path.write_bytes(gzip.compress(json.dumps(data).encode()))
    assert not _accepted(path)


def _shape(tree: dict) -> torch.Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(tree["shape"])), dtype=torch.int32).view(-1, 2)


def _accepted(path: Path) -> bool:
    try:
        return replay(path).accepted
    except ReplayError:
        return False


def test_halves_cover_and_share_their_face():
    one = torch.zeros(1, dtype=torch.int64)
    boxes = Boxes(low=torch.zeros(1, 3), high=torch.ones(1, 3), case=one, conjunction=one)
    below, above = (boxes.halves(torch.tensor([1]), torch.tensor([0.25])).take(slice(at, at + 1)) for at in range(2))
    assert below.high.tolist() == [[1.0, 0.25, 1.0]]
    assert above.low.tolist() == [[0.0, 0.25, 0.0]]
    assert torch.equal(below.low, boxes.low)
    assert torch.equal(above.high, boxes.high)
