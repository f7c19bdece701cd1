"""The names of version 0.1 for certificate files: the same files, under the signatures of then."""

import gzip
import json
from pathlib import Path

import pytest
import torch

from epsball.ball import Ball
from epsball.certificates import files as old
from epsball.certificates.replay import files
from epsball.graph import Graph, Node, kinds


@pytest.fixture
def graph() -> Graph:
    nodes = (
        Node(name="x", kind=kinds.Input(), shape=(2,)),
        Node(name="z", kind=kinds.Elementwise(function="relu"), inputs=("x",), shape=(2,)),
    )
    return Graph(nodes=nodes, output="z", parameters={})


def test_the_model_file_is_the_same_and_its_name_a_string(graph: Graph, tmp_path: Path) -> None:
    then, now = tmp_path / "then", tmp_path / "now"
    name = old.write_model(graph, then)
    assert type(name) is str
    assert name == files.write_model(graph, now).name
    assert (then / name).read_bytes() == (now / name).read_bytes()


def test_the_certificate_is_one_that_the_checker_accepts(graph: Graph, tmp_path: Path) -> None:
    replay = pytest.importorskip(
        "epsball_replay", reason="the checker needs the extra replay", exc_type=ImportError
    ).replay
    path = tmp_path / "certificate-0.json.gz"
    old.write_certificate(
        path,
        model=old.write_model(graph, tmp_path),
        fingerprint=graph.fingerprint(),
        x=torch.tensor([0.8, 0.3]),
        ball=Ball("linf", "1/10"),
        predicted=0,
        claims={1: 0.29},
        semantics="real",
        assumptions={"ulps": {}},
        refined=(),
        bounds={},
        slopes=[],
        own_slopes=[],
        final_slopes={},
    )
    assert json.loads(gzip.decompress(path.read_bytes()))["radius"] == "1/10"
    assert replay(path).stable
