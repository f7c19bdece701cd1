"""Files made to deceive or to break the checker: named errors, never a traceback, never an acceptance."""

import base64
import copy
import gzip
import io
import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from epsball.ball import Ball
from epsball_replay import ReplayError, replay
from epsball_replay.arithmetic import gamma
from epsball_replay.network import read_network
from replay.networks import certificate, graph_of

pytest.importorskip("flint", reason="the checker needs the extra replay")


class Forger:
    """A genuine certificate of a small network, and files like it with changes of which the hashes agree."""

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(0)
        graph = graph_of((2, 4, 4), nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3))
        self.path = certificate(folder, graph, torch.rand(2, 4, 4), Ball("linf", 0.01), semantics="real")
        self.certificate = json.loads(gzip.decompress(self.path.read_bytes()))
        with np.load(next(folder.glob("model-*.npz"))) as archive:
            self.arrays: dict[str, Any] = {name: archive[name] for name in archive.files}
        self.graph = json.loads(self.arrays.pop("graph").tobytes())

    def write(self, data: dict[str, Any], graph: dict[str, Any], arrays: dict[str, Any]) -> Path:
        described = np.frombuffer(json.dumps(graph).encode(), dtype=np.uint8)
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=True, graph=described, **arrays)
        unnamed = self.path.parent / "forged.npz"
        unnamed.write_bytes(buffer.getvalue())
        try:
            fingerprint = read_network(unnamed).fingerprint
        except Exception:
            fingerprint = "0" * 64
        model = unnamed.rename(unnamed.with_name(f"model-{fingerprint[:16]}.npz"))
        data["model"] = {"file": model.name, "fingerprint": fingerprint}
        self.path.write_bytes(gzip.compress(json.dumps(data).encode()))
        return self.path

    def forged(self, change) -> Path:
        data, graph, arrays = (copy.deepcopy(part) for part in (self.certificate, self.graph, self.arrays))
        change(data, graph, arrays)
        return self.write(data, graph, arrays)


@pytest.fixture
def forger(tmp_path) -> Forger:
    return Forger(tmp_path)


def node(at: int, part: int, value: Any):
    return lambda data, graph, arrays: graph["nodes"][at].__setitem__(part, value)


def attribute(at: int, key: str, value: Any):
    return lambda data, graph, arrays: graph["nodes"][at][2].__setitem__(key, value)


def array(name: str, value: Any):
    return lambda data, graph, arrays: arrays.__setitem__(name, value)


def field(name: str, value: Any):
    return lambda data, graph, arrays: data.__setitem__(name, value)


def one_logit(data, graph, arrays):
    arrays["3.weight"], arrays["3.bias"] = arrays["3.weight"][:1], arrays["3.bias"][:1]
    graph["nodes"][4][4] = [1]
    data["predicted"], data["claims"] = 0, {}


def two_claims_for_a_class(data, graph, arrays):
    (first, *_) = data["claims"]
    data["claims"] = {f"0{first}": data["claims"][first]} | data["claims"] | {first: (1e9).hex()}


def many_slopes(data, graph, arrays):
    data["final_slopes"] = {"n1": {"lower": base64.b64encode(np.zeros(7 * 12).tobytes()).decode(), "upper": None}}


def own_slopes(numbers=(0,), at=(0,), lower=(0.5, 0.5)) -> dict[str, Any]:
    def text(values, kind: str) -> str:
        return base64.b64encode(np.array(values, dtype=kind).tobytes()).decode()

    slopes = {"n1": {"at": text(at, "<i4"), "lower": text(lower, "<f8")}}
    return {"node": "n0", "numbers": text(numbers, "<i4"), "slopes": slopes}


def without(at: int, key: str):
    return lambda data, graph, arrays: graph["nodes"][at][2].pop(key)


def renamed_output(data, graph, arrays):
    graph["nodes"][4][0] = graph["output"] = "the logits"


def other_name(data, graph, arrays):
    graph["nodes"][4][2]["bias"] = None
    arrays["other"] = arrays.pop("3.bias")


HOSTILE = {
    "one logit": one_logit,
    "two claims for a class": two_claims_for_a_class,
    "slopes for more rows than there are": many_slopes,
    "no claims": field("claims", {}),
    "a claim for the predicted class": lambda data, graph, arrays: data["claims"].update(
        {str(data["predicted"]): "-0x1p9"}
    ),
    "a class without a claim": lambda data, graph, arrays: data["claims"].popitem(),
    "an infinite claim": lambda data, graph, arrays: data["claims"].update(dict.fromkeys(data["claims"], "-inf")),
    "claims of another type": field("claims", [1, 2]),
    "a claim that is no number": field("claims", {"0": "nan", "1": "nan", "2": "nan"}),
    "an endless radius": field("radius", "1e999999999"),
    "a negative radius": field("radius", "-1"),
    "an infinite box": field("box", ["-inf", "inf"]),
    "a box of three sides": field("box", ["0x0p0", "0x1p0", "0x1p0"]),
    "slopes of an unknown node": field("slopes", [{"other": {"lower": "", "upper": None}}]),
    "slopes that are too short": field("slopes", [{"n1": {"lower": "AAAAAAAAAAA=", "upper": None}}]),
    "slopes of an entry that is not there": field("own_slopes", [own_slopes(numbers=[3 * 2 * 2])]),
    "slopes at a place that is not there": field("own_slopes", [own_slopes(at=[-1])]),
    "fewer slopes than rows": field("own_slopes", [own_slopes(lower=[0.5])]),
    "slopes of an entry that is named twice": field(
        "own_slopes", [own_slopes(numbers=[0, 0], lower=[0.5, 0.5, 0.5, 0.5])]
    ),
    "slopes of no number": field("own_slopes", [own_slopes(lower=[0.5, float("nan")])]),
    "an unknown refined node": field("refined", ["other"]),
    "a node twice": lambda data, graph, arrays: graph["nodes"].insert(1, graph["nodes"][1]),
    "a node before its input": lambda data, graph, arrays: graph["nodes"].reverse(),
    "two inputs of the network": lambda data, graph, arrays: graph["nodes"].append(["z", "Input", {}, [], [2]]),
    "an unknown output": lambda data, graph, arrays: graph.__setitem__("output", "other"),
    "an output of several axes": lambda data, graph, arrays: graph.__setitem__("output", "n1"),
    "a node with an axis of no whole length": node(3, 4, [True]),
    "an output whose name has a space": renamed_output,
    "a parameter that no node has": other_name,
    "an attribute that is missing": without(1, "groups"),
    "arguments that are missing": without(2, "arguments"),
    "an attribute that is not known": attribute(3, "start", 0),
    "attributes that are a list": node(3, 2, []),
    "an attribute of another type": attribute(1, "groups", True),
    "a stride for each axis but one": attribute(1, "stride", [1]),
    "output padding without a transpose": attribute(1, "output_padding", [1, 0]),
    "a shape that is not that of the windows": attribute(1, "stride", [2, 2]),
    "a reshape to another shape": attribute(3, "shape", [3, 4]),
    "an argument too many": attribute(2, "arguments", [0.1]),
    "a leaky slope that is missing": attribute(2, "function", "leaky_relu"),
    "a leaky slope that is no number": lambda data, graph, arrays: graph["nodes"][2][2].update(
        function="leaky_relu", arguments=[float("nan")]
    ),
    "a clamp to infinity": lambda data, graph, arrays: graph["nodes"][2][2].update(
        function="clamp", arguments=[float("inf"), float("inf")]
    ),
    "an unknown kind": node(2, 1, "Exponential"),
    "a kind that is a list": node(2, 1, ["Elementwise"]),
    "a name that is a number": node(2, 0, 5),
    "a function of two values": node(2, 3, ["n0", "x"]),
    "a function of nothing": node(2, 3, []),
    "a value wider than its node": node(2, 4, [2, 3, 2, 2]),
    "a shape of negative length": node(3, 4, [-12]),
    "a shape of broken length": node(3, 4, [12.0]),
    "a huge shape": node(3, 4, [10**15]),
    "an unknown function": attribute(2, "function", "exp"),
    "a stride of zero": attribute(1, "stride", [0, 0]),
    "a negative padding": attribute(1, "padding", [-1, -1]),
    "windows that do not fit": attribute(1, "padding", [9, 9]),
    "groups that do not divide": attribute(1, "groups", 5),
    "a parameter that is not there": attribute(1, "weight", "other"),
    "a kernel of one channel": array("0.weight", np.ones((3, 1, 3, 3), np.float32)),
    "a bias of one entry": array("0.bias", np.ones(1, np.float32)),
    "a wider layer": array("3.weight", np.ones((3, 13), np.float32)),
    "a parameter that is no number": array("3.bias", np.full(3, np.nan, np.float32)),
    "an infinite parameter": array("3.bias", np.full(3, np.inf, np.float32)),
    "a parameter of whole numbers": array("3.bias", np.ones(3, np.int64)),
    "a parameter that is an object": array("3.bias", np.array([{}], dtype=object)),
    "parameters near overflow": array("3.bias", np.full(3, 1e300)),
    "a float64 network under float32": lambda data, graph, arrays: (
        data.__setitem__("semantics", "float32"),
        arrays.__setitem__("3.bias", arrays["3.bias"].astype(np.float64)),
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_a_named_error(name, forger):
    assert replay(forger.path).accepted
    with pytest.raises(ReplayError):
        replay(forger.forged(HOSTILE[name]))


def square_of_the_input(kind: str):
    """Insert z * z or z / z for a value z of the network: a product of two values that no rule bounds."""

    def change(data, graph, arrays):
        graph["nodes"].insert(3, ["product", kind, {}, ["n1", "n1"], [3, 2, 2]])
        graph["nodes"][4][3] = ["product"]

    return change


@pytest.mark.parametrize("kind", ["Multiply", "Divide"])
def test_a_product_or_quotient_of_two_values_is_refused_by_name(kind, forger):
    with pytest.raises(ReplayError, match=f"node product, a {kind} of n1 and n1, is not replayed") as caught:
        replay(forger.forged(square_of_the_input(kind)))
    assert caught.value.__cause__ is None, "refused by a rule, not by what failed on the way"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (node(2, 3, ["n0", "x"]), "node n1 of the kind Elementwise takes 1 value; the file gives it 2"),
        (node(2, 3, []), "node n1 of the kind Elementwise takes 1 value; the file gives it 0"),
        (HOSTILE["two inputs of the network"], "the model has 2 inputs"),
    ],
)
def test_a_wrong_number_of_values_is_refused_by_name(change, message, forger):
    with pytest.raises(ReplayError, match=message) as caught:
        replay(forger.forged(change))
    assert caught.value.__cause__ is None


def test_the_same_file_without_a_change_is_accepted(forger):
    assert replay(forger.forged(lambda data, graph, arrays: None)).accepted


@pytest.mark.parametrize("name", ["../model.npz", "/etc/model.npz", "model.npz\n", "", None, 3])
def test_a_model_file_elsewhere_is_refused(name, forger):
    forger.certificate["model"]["file"] = name
    forger.path.write_bytes(gzip.compress(json.dumps(forger.certificate).encode()))
    with pytest.raises(ReplayError):
        replay(forger.path)


def test_a_field_named_twice_is_refused(forger):
    text = json.dumps(forger.certificate).replace('"predicted":', '"predicted": 0, "predicted":')
    forger.path.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(ReplayError, match="twice"):
        replay(forger.path)


def test_files_that_unpack_to_far_more_are_refused_before_they_fill_the_memory(forger, monkeypatch):
    monkeypatch.setattr("epsball_replay.files._LARGEST_FILE", 1000)
    with pytest.raises(ReplayError, match="unpacks to more"):
        replay(forger.path)
    monkeypatch.undo()
    monkeypatch.setattr("epsball_replay.network._LARGEST_FILE", 1000)
    with pytest.raises(ReplayError, match="unpacks to more"):
        replay(forger.path)


def test_sums_beyond_the_error_analysis_have_no_bound():
    with pytest.raises(OverflowError):
        gamma(2**24, 2.0**-24)
    assert gamma(2**20, 2.0**-24) >= float(Fraction(2**20, 2**24) / (1 - Fraction(2**20, 2**24)))


def test_the_command_names_every_unreadable_file_and_goes_on(forger, tmp_path):
    empty = tmp_path / "empty.json.gz"
    empty.write_bytes(b"")
    one = forger.forged(one_logit)
    paths = [empty, tmp_path, tmp_path / "missing", one]
    run = subprocess.run([sys.executable, "-m", "epsball_replay", *paths], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (2, "")
    assert run.stdout.count("not replayed") == len(paths)
