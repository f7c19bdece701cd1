"""``verify`` on networks with jumps and waves, without batch axis, and with an operator that has no rule."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import epsball as eb
from epsball.verification import blind
from epsball.verification.search import Search
from epsball.verification.vnnlib import expressions, read_query
from verification.queries import between, query

WHOLE, FLOAT = 7, 1


def written(path: Path, nodes, arrays, shape=(1, 1), output=FLOAT, opset=13) -> Path:
    """Write a network from x to y."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", FLOAT, list(shape))],
        [helper.make_tensor_value_info("y", output, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def values(net: Path, low: float, high: float) -> np.ndarray:
    """Return the outputs of a network of one input at many points of an interval."""
    session = onnxruntime.InferenceSession(str(net), providers=["CPUExecutionProvider"])
    points = np.linspace(low, high, 2001, dtype=np.float32)
    return np.array([np.asarray(session.run(None, {"x": point.reshape(1, 1)})[0]).item() for point in points])


STEEP = helper.make_node("Mul", ["x", "three"], ["z"])


@pytest.mark.parametrize("operator", ["Sin", "Cos", "Floor", "Ceil", "Round", "Sign"])
def test_bounds_of_one_operator_are_as_sampling_says(tmp_path, operator):
    """What lies beyond all samples is refuted, what a sample reaches is found."""
    nodes = [STEEP, helper.make_node(operator, ["z"], ["y"])]
    net = written(tmp_path / "net.onnx", nodes, {"three": np.float32(3)})
    low, high = "-0.75", "1.25"
    greatest = float(values(net, -0.75, 1.25).max())
    for off, answer in ((1e-3, "unsat"), (-1e-3, "sat")):
        threshold = f"{greatest + off:.7f}"
        path = query(tmp_path / "q.vnnlib", 1, 1, between(low, high), f"(>= Y_0 {threshold})")
        assert eb.verify(net, path, timeout=600).answer == answer


def test_gradients_lead_through_jumps(tmp_path):
    """Of 40 signs all must be right: no random point has them, and none of them has a gradient of its own."""
    n, generator = 40, np.random.default_rng(0)
    weight = np.eye(n, dtype=np.float32) * generator.choice([-1, 1], n).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Sign", ["z"], ["s"]),
        helper.make_node("MatMul", ["s", "ones"], ["y"]),
    ]
    net = written(tmp_path / "net.onnx", nodes, {"w": weight, "ones": np.ones((n, 1), np.float32)}, (1, n))
    box = [between("-1.0", "1.5" if weight[i, i] < 0 else "1.0", i) for i in range(n)]
    path = query(tmp_path / "q.vnnlib", n, 1, *box, f"(>= Y_0 {n})")
    assert eb.verify(net, path, timeout=600).answer == "sat"


@pytest.mark.parametrize(("wanted", "answer"), [("1", "sat"), ("2", "sat"), ("3", "unsat")])
def test_whole_numbers_are_outputs(tmp_path, wanted, answer):
    """The output is the index of the greatest of x, 0.5 and 1 - x over [-1, 1], without batch axis."""
    nodes = [
        helper.make_node("Sub", ["one", "x"], ["r"]),
        helper.make_node("Concat", ["x", "half", "r"], ["all"], axis=0),
        helper.make_node("ArgMax", ["all"], ["y"], axis=0, keepdims=0),
    ]
    arrays = {"one": np.float32(1), "half": np.array([0.75], np.float32)}
    net = written(tmp_path / "net.onnx", nodes, arrays, shape=(1,), output=WHOLE)
    path = query(tmp_path / "q.vnnlib", 1, 1, between("-1.0", "1.0"), f"(>= Y_0 {wanted})")
    assert eb.verify(net, path, timeout=600).answer == answer


def test_axes_without_batch_are_axes_of_the_example(tmp_path):
    """Rows are taken and added along the first axis, of length 3, which is no batch."""
    nodes = [
        helper.make_node("Gather", ["x", "places"], ["rows"], axis=0),
        helper.make_node("ReduceSum", ["rows", "first"], ["y"], keepdims=0),
    ]
    arrays = {"places": np.array([2, 0]), "first": np.array([0])}
    net = written(tmp_path / "net.onnx", nodes, arrays, shape=(3, 2))
    box = [between("0.0", "1.0", place) for place in range(6)]
    for threshold, answer in (("2.0", "sat"), ("2.0001", "unsat")):
        path = query(tmp_path / "q.vnnlib", 6, 2, *box, f"(>= Y_1 {threshold})")
        assert eb.verify(net, path, timeout=600).answer == answer


def test_an_operator_without_rule_leaves_a_search_without_gradients(tmp_path, monkeypatch):
    monkeypatch.setattr(blind, "TRIES", 300)
    net = written(
        tmp_path / "net.onnx",
        [helper.make_node("Mul", ["x", "x"], ["z"]), helper.make_node("CumSum", ["z", "axis"], ["y"])],
        {"axis": np.array(1)},
        (1, 4),
    )
    box = [between("-1.0", "1.0", place) for place in range(4)]
    found = eb.verify(net, query(tmp_path / "q.vnnlib", 4, 4, *box, "(>= Y_3 3.99)"))
    assert found.answer == "sat"
    found = eb.verify(net, query(tmp_path / "q.vnnlib", 4, 4, *box, "(>= Y_3 4.01)"))
    assert found.answer == "unknown"
    assert "CumSum" in str(found.reason)
    monkeypatch.setattr(blind, "TRIES", 10**9)
    found = eb.verify(net, query(tmp_path / "q.vnnlib", 4, 4, *box, "(>= Y_3 4.01)"), timeout=0.5)
    assert found.answer == "timed-out"
    assert "CumSum" in str(found.reason)


def test_boxes_are_halved_across_every_input_of_signs(tmp_path, monkeypatch):
    """The lines of a sign are 0: they do not say which input moves it, and the lowest bounds stay at its jump."""
    monkeypatch.setattr(Search, "round", lambda search, *_: search.region.low[:0])
    n, generator = 4, np.random.default_rng(1)
    weight = np.float32(generator.standard_normal((n, 6)))
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Sign", ["z"], ["s"]),
        helper.make_node("MatMul", ["s", "v"], ["y"]),
    ]
    signs = np.sign(np.float32([-0.6, 0.7, 0.5, -0.8]) @ weight)
    net = written(tmp_path / "net.onnx", nodes, {"w": weight, "v": np.float32(signs).reshape(6, 1)}, (1, n))
    box = [between("-1.0", "1.0", place) for place in range(n)]
    found = eb.verify(net, query(tmp_path / "q.vnnlib", n, 1, *box, "(>= Y_0 6)"), timeout=60)
    assert (found.answer, found.by) == ("sat", "input splits")
    assert found.boxes < 5000


@pytest.mark.parametrize("operator", ["Sign", "Floor", "Round"])
def test_jumps_of_many_inputs_are_branched_on(tmp_path, operator):
    """Networks that jump have no gradients and no curves; of three jumps in twenty inputs no two are bounded apart."""
    n, generator = 20, np.random.default_rng(1)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node(operator, ["z"], ["s"]),
        helper.make_node("MatMul", ["s", "v"], ["y"]),
    ]
    arrays = {"w": np.float32(generator.standard_normal((n, 3))), "v": np.ones((3, 1), np.float32)}
    arrays["w"][:, 2] = -arrays["w"][:, 0]
    net = written(tmp_path / "net.onnx", nodes, arrays, (1, n))
    box = [between("-0.25", "0.25", place) for place in range(n)]
    found = eb.verify(net, query(tmp_path / "q.vnnlib", n, 1, *box, "(>= Y_0 60)"), timeout=60)
    assert found.answer == "unsat"
    found = eb.verify(net, query(tmp_path / "q.vnnlib", n, 1, *box, "(>= Y_0 3)"), timeout=0.5)
    assert found.answer in ("unsat", "timed-out", "unknown", "sat")


def test_a_node_may_be_a_number(tmp_path):
    """The length of z, whose sum of squares is a number at least 0, over a box that holds z = 0."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("ReduceL2", ["z"], ["n"], axes=[1], keepdims=0),
        helper.make_node("Unsqueeze", ["n", "axis"], ["m"]),
        helper.make_node("Sub", ["z", "m"], ["y"]),
    ]
    weight = np.float32(np.random.default_rng(0).standard_normal((2, 3)))
    net = written(tmp_path / "net.onnx", nodes, {"w": weight, "axis": np.array([1])}, (1, 2))
    box = [between("-0.5", "0.5", place) for place in range(2)]
    for asked, answer in (("(>= Y_0 0.1)", "unsat"), ("(>= Y_0 0)", "sat")):
        assert eb.verify(net, query(tmp_path / "q.vnnlib", 2, 3, *box, asked), timeout=60).answer == answer


def test_time_that_is_gone_counts(tmp_path):
    net = written(tmp_path / "net.onnx", [helper.make_node("Relu", ["x"], ["y"])], {})
    path = query(tmp_path / "q.vnnlib", 1, 1, between("-1.0", "1.0"), "(>= Y_0 2)")
    found = eb.verify(net, path, timeout=5, spent=6)
    assert (found.answer, found.reason) == ("timed-out", "the limit of 5 s was reached")


def test_bounds_read_at_once_are_those_read_word_by_word(tmp_path, monkeypatch):
    text = """; a query
(declare-const X_0 Real)
(declare-const X_1 Real) (declare-const Y_0 Real)
(assert (<= X_0 1.25)) ; above
(assert (>= X_0 -3.))
(assert (or (and (<= X_1 .5) (>= X_1 +0.1) (<= Y_0 1e-1))
  (and (<= X_1 0.7)
       (>= X_1 0.6) (>= Y_0 X_0))))
"""
    path = tmp_path / "q.vnnlib"
    path.write_text(text)
    at_once = read_query(path).formula
    monkeypatch.setattr(expressions, "_TOKEN", expressions.re.compile(r"x(?!x)(y)|\n|;[^\n]*|[()]|[^\s();]+"))
    assert read_query(path).formula == at_once
