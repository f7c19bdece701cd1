"""Proof trees: what is written is accepted, and no tampering with a tree is."""

import base64
import copy
import gzip
import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from epsball.ball import Ball, NormName
from epsball.certificates import FLOAT32, REAL, Domain, Problem, complete
from epsball.certificates.branching import example
from epsball.certificates.cascade import Proof
from epsball.certificates.replay.export import export_certificate
from epsball.certificates.replay.files import write_model
from epsball.graph import Graph, Node, kinds
from epsball_replay import ReplayError, Verdict, replay
from replay.networks import graph_of

pytest.importorskip("flint", reason="the checker needs the extra replay")

NETWORKS = {
    "dense": ((6,), lambda: [nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 3)]),
    "kinks": ((6,), lambda: [nn.Linear(6, 12), nn.LeakyReLU(0.1), nn.Linear(12, 10), nn.ReLU6(), nn.Linear(10, 3)]),
    "convolutional": (
        (1, 6, 6),
        lambda: [
            *(nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.PReLU(4)),
            *(nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, 3)),
        ],
    ),
}


def residual() -> Graph:
    """Return relu(h + W relu(h)) with h of the input, and a last layer."""
    torch.manual_seed(5)
    graph = graph_of((5,), nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    nodes = list(graph.nodes)
    nodes.insert(4, Node(name="sum", kind=kinds.Add(), inputs=("n0", "n2"), shape=(8,)))
    nodes[5] = Node(name="n3", kind=nodes[5].kind, inputs=("sum",), shape=(8,))
    return Graph(nodes=tuple(nodes), output=graph.output, parameters=graph.parameters)


def proved(folder: Path, graph: Graph, norm: NormName, semantics=FLOAT32) -> Path:
    """Write the certificate of a ball on which the least margin is a little above 0, and return its file.

    The bias of the last layer is moved so that it is: linear bounds alone prove it of no such network.
    """
    x = torch.rand(1, *graph.input.shape, generator=torch.Generator().manual_seed(0))
    predicted, ball = graph(x).argmax(dim=1), Ball(norm, {"linf": "1/5", "l2": "2/5"}[norm])
    problem = Problem.of(graph, Domain.of(ball, x), predicted, arithmetic=REAL)
    least = float(complete(problem, parts=400, gap=0.01).rows.min())
    (last,) = (name for name in graph.parameters if name == graph[graph.output].kind.bias)  # pyright: ignore[reportAttributeAccessIssue]
    bias = graph.parameters[last].clone()
    bias[predicted] += 0.02 - least
    moved = Graph(nodes=graph.nodes, output=graph.output, parameters={**graph.parameters, last: bias})
    problem = Problem.of(moved, Domain.of(ball, x), predicted, arithmetic=semantics)
    bounds = complete(problem)
    assert bool((bounds.rows > 0).all())
    path = folder / "certificate.json.gz"
    proof = Proof(method="complete", predicted=int(predicted), problem=problem, bounds=bounds)
    export_certificate(path, proof, ball, write_model(moved, folder))
    return path


def read(path: Path) -> dict:
    return json.loads(gzip.decompress(path.read_bytes()))


def write(path: Path, data: dict) -> None:
    path.write_bytes(gzip.compress(json.dumps(data).encode()))


def accepted(path: Path) -> Verdict | None:
    """Return the verdict if the file is accepted as a proof, or None."""
    try:
        verdict = replay(path)
    except ReplayError:
        return None
    return verdict if verdict.accepted else None


def large(module_graph: Graph, scale: float = 3.0) -> Graph:
    """Return the graph with larger last weights, so that margins are well above rounding."""
    parameters = {name: scale * tensor for name, tensor in module_graph.parameters.items()}
    return Graph(nodes=module_graph.nodes, output=module_graph.output, parameters=parameters)


@pytest.mark.parametrize(("norm", "semantics"), [("linf", FLOAT32), ("l2", REAL)], ids=["linf", "l2"])
@pytest.mark.parametrize("name", ["dense", "kinks", pytest.param("convolutional", marks=pytest.mark.slow), "residual"])
def test_trees_are_accepted(name, norm, semantics, tmp_path, monkeypatch):
    monkeypatch.setattr(example, "SHORT", 4)  # Envelopes from the fifth part on.
    torch.manual_seed(2)
    graph = residual() if name == "residual" else graph_of(NETWORKS[name][0], *NETWORKS[name][1]())
    path = proved(tmp_path, large(graph), norm, semantics)
    assert replay(path).stable
    assert read(path)["trees"]


def numbers(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype=kind).copy()


def text(array: np.ndarray, kind: str) -> str:
    return base64.b64encode(array.astype(kind).tobytes()).decode()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    torch.manual_seed(2)
    folder = tmp_path_factory.mktemp("whole")
    return proved(folder, large(graph_of(NETWORKS["dense"][0], *NETWORKS["dense"][1]())), "linf")


def _edit_shape(tree: dict, edit) -> None:
    tree["shape"] = text(np.array(edit(numbers(tree["shape"], "<i4").reshape(-1, 2).tolist())), "<i4")


def _drop_leaf(tree: dict) -> None:
    _edit_shape(tree, lambda shape: shape[:-1])


def _extra_leaf(tree: dict) -> None:
    _edit_shape(tree, lambda shape: [*shape, [-1, -1]])


def _unknown_node(tree: dict) -> None:
    tree["nodes"] = ["nowhere", *tree["nodes"][1:]]


def _unknown_entry(tree: dict) -> None:
    _edit_shape(tree, lambda shape: [[shape[0][0], 10**6], *shape[1:]])


def _unknown_number(tree: dict) -> None:
    _edit_shape(tree, lambda shape: [[99, 0], *shape[1:]])


def _stable_cut(tree: dict) -> None:
    tree["kinks"] = text(np.full(len(numbers(tree["kinks"], "<f8")), 1e6), "<f8")


def _negative(tree: dict) -> None:
    values = numbers(tree["multipliers"], "<f8")
    tree["multipliers"] = text(np.append(values[:-1], -1.0), "<f8")


def _infinite(tree: dict) -> None:
    values = numbers(tree["multipliers"], "<f8")
    tree["multipliers"] = text(np.append(values[:-1], np.inf), "<f8")


def _missing_multiplier(tree: dict) -> None:
    tree["multipliers"] = text(numbers(tree["multipliers"], "<f8")[:-1], "<f8")


def _nan_slope(tree: dict) -> None:
    part = next(iter(tree["slopes"].values()))
    part["lower"] = text(numbers(part["lower"], "<f2") * np.nan, "<f2")


def _missing_kink(tree: dict) -> None:
    tree["kinks"] = text(numbers(tree["kinks"], "<f8")[:-1], "<f8")


@pytest.mark.parametrize(
    "tamper",
    [
        *(_drop_leaf, _extra_leaf, _unknown_node, _unknown_entry, _unknown_number, _stable_cut),
        *(_negative, _infinite, _missing_multiplier, _nan_slope, _missing_kink),
    ],
)
def test_structural_tampering_is_refused(whole, tamper):
    data = read(whole)
    assert accepted(whole) is not None
    for j, tree in data["trees"].items():
        if len(numbers(tree["kinks"], "<f8")):
            changed = copy.deepcopy(data)
            tamper(changed["trees"][j])
            path = whole.with_name("tampered.json.gz")
            write(path, changed)
            with pytest.raises(ReplayError):
                replay(path)


@pytest.mark.parametrize("field", ["claims", "radius", "predicted", "trees"])
def test_other_claims_than_those_proved_are_refused(whole, field):
    data = read(whole)
    verdict = replay(whole)
    if field == "claims":
        data["claims"] = {j: (verdict.derived[int(j)] + 1e-6).hex() for j in data["claims"]}
    elif field == "radius":
        data["radius"] = "9/10"
    elif field == "predicted":
        others = [j for j in data["claims"] if data["trees"].get(j)]
        data["claims"][str(data["predicted"])] = data["claims"].pop(others[0])
        data["predicted"] = int(others[0])
    else:
        data["trees"].pop(max(data["trees"], key=lambda j: len(data["trees"][j]["shape"])))
    path = whole.with_name("claimed.json.gz")
    write(path, data)
    found = accepted(path)
    assert found is None or not found.stable


def test_any_other_change_is_refused_or_leaves_a_claim_that_holds(whole):
    """Numbers within trees changed at random: a claim that is still accepted is below every sampled margin."""
    data, chooser = read(whole), random.Random(0)
    (model,) = whole.parent.glob("*.npz")
    arrays = np.load(model)
    weights = [(arrays[f"{at}.weight"], arrays[f"{at}.bias"]) for at in (0, 2, 4)]
    x = torch.tensor([float.fromhex(value) for value in data["x"]])
    steps = torch.randn(4000, 6, generator=torch.Generator().manual_seed(0))
    z = Ball("linf", data["radius"]).at(x.expand(4000, 6).contiguous()).project(x + steps).numpy()
    for weight, bias in weights[:-1]:
        z = np.maximum(z @ weight.T + bias, 0)
    logits = z @ weights[-1][0].T + weights[-1][1]
    seen = {True: 0, False: 0}
    path = whole.with_name("changed.json.gz")
    for _ in range(120):
        changed = copy.deepcopy(data)
        tree = changed["trees"][chooser.choice(list(changed["trees"]))]
        kind = chooser.choice(["shape", "kinks", "multipliers", "lower", "at"])
        where = tree if kind in tree else tree["slopes"][chooser.choice(list(tree["slopes"]))]
        form = {"shape": "<i4", "kinks": "<f8", "multipliers": "<f8", "lower": "<f2", "at": "<i4"}[kind]
        values = numbers(where[kind], form)
        if not len(values):
            continue
        at = chooser.randrange(len(values))
        values[at] = values[at] + chooser.choice([-1, 1]) * (1 if "i" in form else chooser.uniform(0, 1))
        where[kind] = text(values, form)
        write(path, changed)
        verdict = accepted(path)
        seen[verdict is not None] += 1
        if verdict is not None:
            least = (logits[:, verdict.predicted, None] - logits).min(axis=0)
            assert all(claim <= float(least[j]) for j, claim in verdict.claims.items())
    assert min(seen.values()) > 10, seen


@pytest.fixture(scope="module")
def conditional(tmp_path_factory) -> Path:
    """Return a certificate with neurons that are bounded only where a margin is not positive."""
    torch.manual_seed(6)
    layers = [nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3)]
    with pytest.MonkeyPatch.context() as patched:
        # One part at a time, so that no stage ends with a proof but the last.
        patched.setattr("epsball.certificates.branching.complete.PARTS_AT_ONCE", 1)
        patched.setattr(example, "SHORT", 1)
        patched.setattr(example, "ENVELOPED", 1)
        return proved(tmp_path_factory.mktemp("conditional"), large(graph_of((6,), *layers)), "linf")


def _negative_condition(part: dict) -> None:
    part["multipliers"] = text(-1 - numbers(part["multipliers"], "<f8"), "<f8")


def _missing_condition(part: dict) -> None:
    part["multipliers"] = text(numbers(part["multipliers"], "<f8")[:-1], "<f8")


def _other_order(part: dict) -> None:
    part["numbers"] = text(numbers(part["numbers"], "<i4")[::-1], "<i4")


def _lacks_slopes(part: dict) -> None:
    part["slopes"].popitem()


@pytest.mark.parametrize("tamper", [_negative_condition, _missing_condition, _other_order, _lacks_slopes])
def test_neurons_bounded_on_condition_are_accepted_and_tampering_is_refused(conditional, tamper):
    data = read(conditional)
    assert replay(conditional).stable
    tree = next(tree for tree in data["trees"].values() if "conditional" in tree)
    tamper(tree["conditional"][0])
    path = conditional.with_name("tampered.json.gz")
    write(path, data)
    with pytest.raises(ReplayError):
        replay(path)


def test_a_condition_proves_no_claim_above_the_least_margin(conditional):
    """The claim is the condition's level: raised above the truth, it makes the condition weaker and is refused."""
    data = read(conditional)
    x = torch.tensor([float.fromhex(value) for value in data["x"]])
    (model,) = conditional.parent.glob("*.npz")
    arrays = np.load(model)
    z = x.numpy()
    for at in (0, 2, 4):
        z = z @ arrays[f"{at}.weight"].T + arrays[f"{at}.bias"]
        z = np.maximum(z, 0) if at < 4 else z
    for j in (j for j, tree in data["trees"].items() if "conditional" in tree):
        changed = copy.deepcopy(data)
        changed["claims"][j] = float(z[data["predicted"]] - z[int(j)] + 1e-3).hex()
        path = conditional.with_name("claimed.json.gz")
        write(path, changed)
        assert accepted(path) is None
