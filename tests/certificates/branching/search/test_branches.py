"""Branches of a search with envelopes of their own: what is proved by them holds and replays."""

import base64
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from epsball.ball import Ball
from epsball.certificates import FLOAT32, Domain, LowerBounds, Problem, complete
from epsball.certificates.branching import example
from epsball.certificates.branching.search import search
from epsball.certificates.branching.tree import Tree
from epsball.certificates.cascade import Proof
from epsball.certificates.replay.export import export_certificate
from epsball.certificates.replay.files import write_model
from epsball.graph import capture

INPUTS, RADIUS, MARGIN = 70, 0.25, 0.02


@pytest.fixture
def often(monkeypatch):
    """Envelopes and conditions at once, and other envelopes as soon as may be."""
    monkeypatch.setattr("epsball.certificates.branching.complete.PARTS_AT_ONCE", 2)
    monkeypatch.setattr(example, "SHORT", 0)
    monkeypatch.setattr(example, "ENVELOPED", 2)
    monkeypatch.setattr(search, "_BRANCH", 2)


def searched(seed: int) -> tuple[Problem, Ball, LowerBounds, int]:
    """Return what is proved of a network whose margin is small where descent leads."""
    torch.manual_seed(seed)
    layers = (nn.Linear(INPUTS, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 2))
    made, x = nn.Sequential(*layers).eval(), torch.rand(1, INPUTS)
    predicted = int(made(x).argmax(dim=1))
    point, margin = x.clone(), torch.zeros(())
    for _ in range(20):
        point.requires_grad_()
        margin = made(point)[0] @ torch.tensor([1.0, -1.0]) * (1 - 2 * predicted)
        (gradient,) = torch.autograd.grad(margin, point)
        point = (point.detach() - 0.03 * gradient.sign()).clamp(x - RADIUS, x + RADIUS)
    layers[-1].bias.data[predicted] += MARGIN - float(margin.detach())
    ball = Ball("linf", RADIUS)
    problem = Problem.of(capture(made, (INPUTS,)), Domain.of(ball, x), torch.tensor([predicted]), arithmetic=FLOAT32)
    return problem, ball, complete(problem, parts=3000), predicted


def exported(path: Path, problem: Problem, ball: Ball, found: LowerBounds, predicted: int) -> Path:
    file = path / "certificate.json.gz"
    proof = Proof(method="complete", predicted=predicted, problem=problem, bounds=found)
    export_certificate(file, proof, ball, write_model(problem.graph, path))
    return file


@pytest.mark.usefixtures("often")
def test_trees_with_envelopes_of_branches_replay(tmp_path: Path) -> None:
    pytest.importorskip("flint", reason="the checker needs the extra replay")
    from epsball_replay import replay

    problem, ball, found, predicted = searched(3)
    (tree,) = found.trees[0]
    assert isinstance(tree, Tree)
    assert bool((found.rows > 0).all())
    assert len(tree.further) > 1
    assert set(tree.used) | {0} == {0, *range(1, len(tree.further) + 1)}
    file = exported(tmp_path, problem, ball, found, predicted)
    assert replay(file).stable
    text = json.loads(gzip.decompress(file.read_bytes()))
    (written,) = text["trees"].values()
    shape = np.frombuffer(base64.b64decode(written["shape"]), "<i4").reshape(-1, 2).copy()
    shape[np.flatnonzero(shape[:, 0] == -1)[0], 1] = len(tree.further) + 1
    written["shape"] = base64.b64encode(shape.tobytes()).decode()
    with gzip.open(file, "wt") as changed:
        json.dump(text, changed)
    with pytest.raises(Exception, match="envelopes that its tree lacks"):
        replay(file)
