"""Branch and bound over neurons in `verify`: what it decides, what it writes, and when it stops."""

import json
import sys
import time
from fractions import Fraction

import numpy as np
import pytest
import torch

import epsball as eb
from epsball.errors import InputError
from epsball.graph import capture
from epsball.verification.proving.cascade import Cascade
from epsball.verification.proving.complete import Branched
from epsball.verification.proving.greatest import with_greatest
from verification.queries import between, exact_output, exact_pieces, network, query, random_layers

INPUTS = 20


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """Return a network of more inputs than are split, on whose box bounds alone leave a gap, and what is seen of it."""
    layers = random_layers(1, INPUTS, 16, 12, 3)
    return network(tmp_path_factory.mktemp("net") / "net.onnx", layers), layers


def least(layers, of) -> float:
    """Return the least value of a function of the outputs at 20,000 points of the box."""
    z = np.random.default_rng(0).choice([-0.05, 0.0, 0.05], (20_000, INPUTS)).astype(np.float64)
    for weight, bias in layers[:-1]:
        z = np.maximum(z @ weight.T.astype(np.float64) + bias, 0)
    return float(of(z @ layers[-1][0].T.astype(np.float64) + layers[-1][1]).min())


def box(low: str = "-0.05", high: str = "0.05") -> list[str]:
    return [between(low, high, place) for place in range(INPUTS)]


def unsat(net, path, asked, start: float, **options):
    """Return the answer below the first of falling thresholds that no point reaches."""
    for number in range(10):
        found = eb.verify(net, query(path, INPUTS, 3, *box(), asked(start - 0.2 * number)), timeout=60, **options)
        if found.answer == "unsat":
            return found
    raise AssertionError("every threshold is reached")


def test_a_conjunction_is_refuted_by_its_greatest_row(tmp_path):
    """Of u = abs(sum x): Y_0 = u - 0.2 and Y_1 = 0.3 - 2 max(u - 0.1, 0), of which no combination is positive."""
    one = np.ones((1, INPUTS))
    layers = [
        (np.concatenate([one, -one]), np.zeros(2)),
        (np.ones((2, 2)), np.array([0.0, -0.1])),
        (np.array([[1.0, 0.0], [0.0, -2.0]]), np.array([-0.2, 0.3])),
    ]
    file = network(tmp_path / "net.onnx", layers)
    path = query(tmp_path / "q.vnnlib", INPUTS, 2, *box(), "(and (<= Y_0 0.02) (<= Y_1 0.02))")
    found = eb.verify(file, path, timeout=60)
    assert (found.answer, found.by) == ("unsat", "complete")
    path = query(tmp_path / "q.vnnlib", INPUTS, 2, *box(), "(and (<= Y_0 0.04) (<= Y_1 0.04))")
    assert eb.verify(file, path, timeout=60).answer == "sat"


def test_the_proof_is_a_file_that_the_checker_accepts(net, tmp_path):
    replay = pytest.importorskip("epsball_replay").replay
    file, layers = net
    low = least(layers, lambda y: y[:, 0])
    assert unsat(file, tmp_path / "q.vnnlib", lambda t: f"(<= Y_0 {t})", low - 0.3).certificate is None
    again = eb.verify(file, tmp_path / "q.vnnlib", timeout=60, certificates=tmp_path / "proof")
    assert again.answer == "unsat"
    verdicts = [replay(path) for path in again.certificate.files]
    assert all(verdict.accepted and min(verdict.claims.values()) > 0 for verdict in verdicts)
    assert json.dumps(again.to_json())
    with pytest.raises(InputError, match="holds another proof"):
        eb.verify(file, tmp_path / "q.vnnlib", certificates=tmp_path / "proof")


def test_proofs_of_few_inputs_are_files_that_the_checker_accepts(tmp_path):
    replay = pytest.importorskip("epsball_replay").replay
    how = set()
    for seed in range(6):
        layers = random_layers(seed, 1, 8, 6, 1)
        file = network(tmp_path / "net.onnx", layers)
        low = min(exact_output(layers, x)[0] for x in exact_pieces(layers, Fraction(-1), Fraction(1)))
        path = query(tmp_path / "q.vnnlib", 1, 1, between("-1", "1"), f"(<= Y_0 {float(low) - 0.001:.9f})")
        folder = tmp_path / f"proof-{seed}"
        found = eb.verify(file, path, timeout=60, certificates=folder)
        assert found.answer == "unsat"
        assert all(replay(proof).accepted for proof in found.certificate.files)
        how.add(found.by)
    assert "complete" in how


def test_a_proof_by_input_splits_has_no_files_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["epsball.verification.course"], "run_cascade", lambda *_, **__: Cascade())
    monkeypatch.setattr(sys.modules["epsball.verification.course"], "complete", lambda *_, **__: Branched())
    file = network(tmp_path / "net.onnx", random_layers(0, 1, 8, 6, 1))
    path = query(tmp_path / "q.vnnlib", 1, 1, between("-1", "1"), "(<= Y_0 -1000)")
    found = eb.verify(file, path, timeout=60, certificates=tmp_path / "proof")
    assert (found.answer, found.by, found.certificate) == ("unsat", "input splits", None)
    assert "input splits" in found.uncertified
    assert not (tmp_path / "proof").exists()


def first_not_sat(file, path, factor: float, start: float, **options):
    """Return what is found at the first of thresholds, each so many times the one before, that no point reaches."""
    for number in range(40):
        asked = f"(<= Y_0 {start * factor**number:.9f})"
        began = time.monotonic()
        found = eb.verify(file, query(path, INPUTS, 1, *box("-1", "1"), asked), **options)
        if found.answer != "sat":
            return found, time.monotonic() - began
    raise AssertionError("every threshold is reached")


def test_thresholds_need_not_be_numbers_of_the_network(net, tmp_path, monkeypatch):
    """Under float32 semantics the search computes the network in float32 and its rows in float64."""
    monkeypatch.setattr(sys.modules["epsball.verification.course"], "run_cascade", lambda *_, **__: Cascade())
    file, layers = net
    start = least(layers, lambda y: y[:, 0])
    found = unsat(file, tmp_path / "q.vnnlib", lambda level: f"(<= Y_0 {level:.9f})", start, semantics="float32")
    assert found.by == "complete"


def test_boxes_that_are_dear_are_not_split_first(tmp_path, monkeypatch):
    """Where the time does not suffice for twenty boxes, neurons come first."""
    course = sys.modules["epsball.verification.course"]
    monkeypatch.setattr(course, "run_cascade", lambda *_, **__: Cascade(last="crown", seconds=10.0))
    monkeypatch.setattr(course, "InputSplits", None)
    file = network(tmp_path / "net.onnx", random_layers(0, 2, 8, 6, 1))
    box = [between("-1", "1", place) for place in range(2)]
    found = eb.verify(file, query(tmp_path / "q.vnnlib", 2, 1, *box, "(<= Y_0 -1000)"), timeout=60)
    assert (found.answer, found.by) == ("unsat", "complete")


def test_splits_and_neurons_take_turns_where_splits_close_little(tmp_path, monkeypatch):
    course = sys.modules["epsball.verification.course"]
    monkeypatch.setattr(course, "run_cascade", lambda *_, **__: Cascade())
    monkeypatch.setattr(course, "_TURN", 0.0)
    file = network(tmp_path / "net.onnx", random_layers(0, 2, 8, 6, 1))
    box = [between("-1", "1", place) for place in range(2)]
    found = eb.verify(file, query(tmp_path / "q.vnnlib", 2, 1, *box, "(<= Y_0 -1000)"), timeout=60)
    assert (found.answer, found.by) == ("unsat", "complete")


def test_a_smooth_operation_is_split(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["epsball.verification.course"], "run_cascade", lambda *_, **__: Cascade())
    file = network(tmp_path / "net.onnx", random_layers(1, INPUTS, 12, 1), last="Sigmoid")
    found = eb.verify(file, query(tmp_path / "q.vnnlib", INPUTS, 1, *box(), "(<= Y_0 -1)"), timeout=60)
    assert (found.answer, found.by) == ("unsat", "complete")


def test_the_time_limit_is_kept_in_branch_and_bound(tmp_path):
    file = network(tmp_path / "net.onnx", random_layers(1, INPUTS, 60, 60, 60, 1))
    found, seconds = first_not_sat(file, tmp_path / "q.vnnlib", 1.2, -200.0, timeout=3)
    assert found.answer == "timed-out"
    assert seconds < 10


def test_the_greatest_of_rows_is_their_maximum():
    graph = capture(torch.nn.Identity(), (7,))
    conjunctions = [(0, 1, 2), (3,), (6, 5, 4, 3, 2), (1, 0)]
    x = torch.randn(50, 7)
    found = with_greatest(graph, conjunctions)(x)
    wanted = torch.stack([x[:, list(rows)].amax(dim=1) for rows in conjunctions], dim=1)
    assert torch.allclose(found, wanted, atol=1e-6)
