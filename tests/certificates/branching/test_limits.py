"""Searches that end at a limit: what their open parts prove is kept, as leaves of trees that replay."""

from pathlib import Path

import pytest
import torch
from torch import nn

from epsball.ball import Ball
from epsball.certificates import REAL, Domain, Problem, complete
from epsball.certificates.branching import complete as module
from epsball.certificates.branching import example
from epsball.certificates.branching.search import search
from epsball.certificates.cascade import Proof
from epsball.certificates.replay.export import export_certificate
from epsball.certificates.replay.files import write_model
from epsball.graph import Graph, capture

PARTS, MARGIN = 60, 0.02


def positive(inputs: int) -> tuple[Graph, torch.Tensor, Ball, torch.Tensor]:
    """Return a network whose margins are positive on a ball, but not by the bounds of the whole."""
    torch.manual_seed(3)
    made = nn.Sequential(nn.Linear(inputs, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))
    x, ball = torch.rand(1, inputs), Ball("linf", "2/5" if inputs < 10 else "1/10")
    predicted = made(x).argmax(dim=1)
    problem = Problem.of(capture(made.eval(), (inputs,)), Domain.of(ball, x), predicted, arithmetic=REAL)
    made[4].bias.data[predicted] += MARGIN - float(complete(problem, gap=MARGIN / 10).rows.min())
    return capture(made.eval(), (inputs,)), x, ball, predicted


@pytest.fixture
def unhurried(monkeypatch):
    """Goals that no part reaches before its neurons are decided: open parts are proved long before."""
    monkeypatch.setattr(search, "_ALLOWANCE", 2.0**40)
    monkeypatch.setattr(example, "SHORT", PARTS)
    monkeypatch.setattr(example.Example, "_above", lambda _: None)
    monkeypatch.setattr(module, "TRIED", PARTS)


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("inputs", [4, 70], ids=["few inputs", "many inputs"])
def test_open_parts_that_are_proved_at_a_limit_are_leaves_that_replay(inputs, tmp_path: Path):
    pytest.importorskip("flint", reason="the checker needs the extra replay")
    from epsball_replay import replay

    graph, x, ball, predicted = positive(inputs)
    problem = Problem.of(graph, Domain.of(ball, x), predicted, arithmetic=REAL)
    found = complete(problem, parts=PARTS)
    searched = found.searched[0]
    assert searched.parts >= PARTS
    assert searched.ending == "proved"
    assert bool((found.rows > 0).all())
    assert len(found.trees[0]) == 1
    path = tmp_path / "certificate.json.gz"
    proof = Proof(method="complete", predicted=int(predicted), problem=problem, bounds=found)
    export_certificate(path, proof, ball, write_model(graph, tmp_path))
    assert replay(path).stable


@pytest.mark.usefixtures("unhurried")
def test_no_second_search_of_no_rows(monkeypatch):
    """Open parts may prove every row where a first try ends; nothing is left to cut inputs for."""
    monkeypatch.setattr(search.Search, "close_open", lambda _: None)
    graph, x, ball, predicted = positive(4)
    found = complete(Problem.of(graph, Domain.of(ball, x), predicted, arithmetic=REAL))
    assert found.searched[0].ending == "parts"
    assert bool((found.rows > 0).all())
