"""The checker: its bounds hold, traps are refused, and no tampering is accepted that is not true."""

import contextlib
import copy
import dataclasses
import gzip
import json
import random
import subprocess
import sys

import pytest
import torch
from torch import nn

from epsball.ball import Ball
from epsball.certificates.replay.files import Certificate as Written
from epsball.graph import Graph, Node, kinds
from epsball_replay import ReplayError, replay
from epsball_replay.files import Certificate as Read
from replay.networks import certificate, graph_of

pytest.importorskip("flint", reason="the checker needs the extra replay")

NETWORKS = {
    "dense": ((6,), lambda: [nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.LeakyReLU(0.1), nn.Linear(8, 3)]),
    "convolutional": (
        (2, 6, 6),
        lambda: [
            *(nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU6()),
            *(nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2), nn.PReLU(4), nn.Flatten(), nn.Linear(36, 3)),
        ],
    ),
    "pooled": (
        (1, 8, 8),
        lambda: [
            *(nn.Conv2d(1, 3, 3, padding=1), nn.MaxPool2d(2), nn.Tanh(), nn.AvgPool2d(2)),
            *(nn.ConvTranspose2d(3, 2, 3, stride=2), nn.Sigmoid(), nn.Flatten(), nn.Linear(50, 3)),
        ],
    ),
}


def double(graph: Graph) -> Graph:
    """Return the real-valued network, near enough: the same weights in float64."""
    wide = {name: tensor.double() for name, tensor in graph.parameters.items()}
    return Graph(nodes=graph.nodes, output=graph.output, parameters=wide)


def sampled_margins(graph: Graph, x: torch.Tensor, ball: Ball, predicted: int) -> torch.Tensor:
    """Return the least margins of many points of the ball, corners and inner ones."""
    noise = torch.randn(2, 1500, *x.shape, dtype=x.dtype)
    steps = torch.cat([noise[0], 3 * noise[1].sign()]) * float(ball.radius)
    points = ball.at(x.expand(3000, *x.shape).contiguous()).project(x + steps)
    logits = graph(points).double()
    return (logits[:, predicted, None] - logits).amin(dim=0)


@pytest.mark.parametrize("semantics", ["real", "float32"])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("name", NETWORKS)
def test_derived_margins_are_below_every_sampled_one(name, norm, semantics, tmp_path):
    torch.manual_seed(len(name) + len(norm))
    shape, build = NETWORKS[name]
    modules = build()
    for module in modules:
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()  # pyright: ignore[reportOptionalMemberAccess]
            module.running_var.uniform_(0.5, 2)  # pyright: ignore[reportOptionalMemberAccess]
    graph, x = graph_of(shape, *modules), torch.rand(shape)
    ball = Ball(norm, {"linf": 0.03, "l2": 0.3, "l1": 0.7}[norm])
    verdict = replay(certificate(tmp_path, graph, x, ball, semantics=semantics))
    judged, centre = (graph, x) if semantics == "float32" else (double(graph), x.double())
    truth = sampled_margins(judged, centre, ball, verdict.predicted)
    assert verdict.accepted
    for j, derived in verdict.derived.items():
        assert derived <= float(truth[j])
        assert derived > float(truth[j]) - 1, "far looser than linear bounds of so small a network"


def test_an_affine_network_is_exact(tmp_path):
    torch.manual_seed(0)
    graph, x = graph_of((5,), nn.Linear(5, 3)), torch.full((5,), 0.5)
    ball = Ball("linf", "1/8")
    verdict = replay(certificate(tmp_path, graph, x, ball, semantics="real"))
    weight, bias = (graph.parameters[f"0.{name}"].double() for name in ("weight", "bias"))
    for j, derived in verdict.derived.items():
        w, b = weight[verdict.predicted] - weight[j], bias[verdict.predicted] - bias[j]
        assert derived == pytest.approx(float(w @ x.double() + b - w.abs().sum() / 8), abs=1e-12)


def trap() -> Graph:
    """Return relu(x + 2^25) - 2^25 against 1/4: in float32 it is 0, in the reals x."""
    parameters = {
        "w": torch.tensor([[1.0]]),
        "b": torch.tensor([2.0**25]),
        "v": torch.tensor([[1.0], [0.0]]),
        "c": torch.tensor([-(2.0**25), 0.25]),
    }
    nodes = (
        Node(name="x", kind=kinds.Input(), shape=(1,)),
        Node(name="h", kind=kinds.Linear(weight="w", bias="b"), inputs=("x",), shape=(1,)),
        Node(name="r", kind=kinds.Elementwise(function="relu"), inputs=("h",), shape=(1,)),
        Node(name="y", kind=kinds.Linear(weight="v", bias="c"), inputs=("r",), shape=(2,)),
    )
    return Graph(nodes=nodes, output="y", parameters=parameters)


def test_the_float_trap_is_proved_for_the_reals_and_not_for_float32(tmp_path):
    graph, x, ball = trap(), torch.tensor([0.75]), Ball("linf", 0.125)
    assert int(graph(x[None]).argmax()) == 1, "float32 has lost x"
    real = replay(certificate(tmp_path, graph, x, ball, semantics="real"))
    assert real.derived[0] == pytest.approx(0.25 - 0.875), "class 1 loses by what x exceeds 1/4"
    deployed = replay(certificate(tmp_path, graph, x, ball))
    assert deployed.derived[0] < real.derived[0] - 1, "the deployed rounding of 2^25 is a whole pixel range"


def tampered(data: dict, chooser: random.Random) -> dict:
    """Return the certificate with one field changed at random."""
    data = copy.deepcopy(data)
    where, key = data, chooser.choice(list(data))
    while isinstance(where[key], dict | list) and where[key]:
        where = where[key]
        key = chooser.choice(list(where) if isinstance(where, dict) else range(len(where)))
    old = where[key]
    if isinstance(old, str) and "0x" in old:
        where[key] = (float.fromhex(old) + chooser.choice([-1, 1]) * 10 ** chooser.uniform(-9, 1)).hex()
    elif isinstance(old, str):
        place = chooser.randrange(len(old))
        where[key] = old[:place] + chooser.choice("0123456789abcdefxyzABC/=") + old[place + 1 :]
    elif isinstance(old, int):
        where[key] = old + chooser.choice([-1, 1, 2])
    else:
        where[key] = chooser.choice([None, 3, "x", [], {}])
    return data


def test_what_is_accepted_after_tampering_is_true(tmp_path):
    torch.manual_seed(3)
    graph, x, ball = graph_of((4,), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)), torch.rand(4), Ball("linf", 0.05)
    alpha = {"n1": (torch.rand(6), torch.rand(6))}
    path = certificate(tmp_path, graph, x, ball, slopes=alpha)
    derived = replay(path).derived
    data = json.loads(gzip.decompress(path.read_bytes()))
    data["claims"] = {j: (derived[int(j)] - 1e-9).hex() for j in data["claims"]}
    path.write_bytes(gzip.compress(json.dumps(data).encode()))
    assert replay(path).accepted
    chooser, seen = random.Random(0), {"accepted": 0, "rejected": 0, "unreadable": 0}
    for _ in range(1000):
        changed = tampered(data, chooser)
        path.write_bytes(gzip.compress(json.dumps(changed).encode()))
        try:
            verdict = replay(path)
        except ReplayError:
            seen["unreadable"] += 1
            continue
        seen["accepted" if verdict.accepted else "rejected"] += 1
        if not verdict.accepted:
            continue
        box = changed["box"]
        low, high = (None, None) if box is None else map(float.fromhex, box)
        about = Ball(changed["norm"], changed["radius"], low, high)
        centre = torch.tensor([float.fromhex(value) for value in changed["x"]], dtype=torch.float64)
        truth = sampled_margins(double(graph), centre, about, verdict.predicted)
        assert all(claim <= float(truth[j]) for j, claim in verdict.claims.items())
    assert all(count > 50 for count in seen.values()), seen


def test_truncated_and_foreign_files_are_named_errors(tmp_path):
    graph = graph_of((4,), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    path = certificate(tmp_path, graph, torch.rand(4), Ball("l2", 0.1))
    text = path.read_bytes()
    for length in range(0, len(text) - 2, 37):
        path.write_bytes(text[:length])
        with pytest.raises(ReplayError):
            replay(path)
    path.write_bytes(text)
    (model,) = tmp_path.glob("*.npz")
    whole = model.read_bytes()
    for length in range(0, len(whole), 211):
        model.write_bytes(whole[:length])
        with pytest.raises(ReplayError):
            replay(path)
    chooser = random.Random(1)
    for _ in range(100):
        changed = bytearray(whole)
        changed[chooser.randrange(len(whole))] ^= 1 << chooser.randrange(8)
        model.write_bytes(bytes(changed))
        with contextlib.suppress(ReplayError):
            assert replay(path).accepted, "only bytes of the archive's own book-keeping changed"


def test_another_model_is_refused(tmp_path):
    torch.manual_seed(0)
    graph = graph_of((4,), nn.Linear(4, 3))
    path = certificate(tmp_path, graph, torch.rand(4), Ball("linf", 0.1))
    (model,) = tmp_path.glob("*.npz")
    other = graph_of((4,), nn.Linear(4, 3))
    folder = tmp_path / "other"
    folder.mkdir()
    certificate(folder, other, torch.rand(4), Ball("linf", 0.1))
    (foreign,) = folder.glob("*.npz")
    model.write_bytes(foreign.read_bytes())
    with pytest.raises(ReplayError, match="is about model"):
        replay(path)


def test_the_record_read_has_the_fields_of_the_record_written():
    written, read = ([field.name for field in dataclasses.fields(record)] for record in (Written, Read))
    assert [name for name in written if name not in ("model", "bounds")] == [name for name in read if name != "network"]


def test_kinds_it_does_not_know_are_said(tmp_path):
    graph = graph_of((4,), nn.Linear(4, 3), nn.GELU())
    with pytest.raises(ReplayError, match="gelu is not replayed with the arguments"):
        replay(certificate(tmp_path, graph, torch.rand(4), Ball("linf", 0.1)))


def test_the_command_prints_a_verdict_and_imports_neither_torch_nor_epsball(tmp_path):
    graph = graph_of((4,), nn.Linear(4, 3))
    path = certificate(tmp_path, graph, torch.rand(4), Ball("linf", 0.01))
    run = subprocess.run([sys.executable, "-m", "epsball_replay", path], capture_output=True, text=True, check=False)
    assert run.returncode == 0
    assert "accepted" in run.stdout
    code = "import sys, epsball_replay.__main__; assert not {'torch', 'epsball'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    certificate(tmp_path, graph, torch.rand(4), Ball("linf", 0.01), claim=5.0)
    run = subprocess.run([sys.executable, "-m", "epsball_replay", path], capture_output=True, text=True, check=False)
    assert (run.returncode, "REJECTED" in run.stdout) == (1, True)
