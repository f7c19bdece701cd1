"""What is read at the end of a file: logits, whatever it ends in, and which of its outputs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper

from epsball.errors import InputError, ModelError
from epsball.graph.onnx import read_onnx
from graph.onnx_models import weights

FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("epsball.graph.onnx.runtime.POINTS", 200)


def node(operator: str, source: str, result: str, *more: str, **attributes: Any) -> Any:
    return helper.make_node(operator, [source, *more], [result], **attributes)


def written(
    path: Path, nodes: list[Any], classes: int = 4, outputs: tuple[Any, ...] = (), opset: int = 17, **arrays: np.ndarray
) -> Path:
    """Write a linear layer from "x" (n, 6) to "s" (n, classes), nodes, and outputs ("z" of floats if none)."""
    arrays = {"w": weights(classes, 6), "b": weights(classes), **arrays}
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["s"], transB=1), *nodes],
        "net",
        [helper.make_tensor_value_info("x", FLOAT, ["n", 6])],
        list(outputs) or [helper.make_tensor_value_info("z", FLOAT, ["n", "k"])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def returned(path: Path, x: torch.Tensor, name: str = "z") -> torch.Tensor:
    return torch.from_numpy(onnxruntime.InferenceSession(str(path)).run([name], {"x": x.numpy()})[0])


X = torch.rand(50, 6, generator=torch.Generator().manual_seed(0)) * 4 - 2
ONE = np.array([1], dtype=np.int64)
FUNCTIONS: dict[str, tuple[list[Any], int, Callable[[torch.Tensor], torch.Tensor]]] = {
    "softmax": ([node("Softmax", "s", "z", axis=1)], 17, lambda z: z.softmax(1)),
    "softmax_last": ([node("Softmax", "s", "z")], 13, lambda z: z.softmax(1)),
    "softmax_old": ([node("Softmax", "s", "z")], 11, lambda z: z.softmax(1)),
    "log_softmax": ([node("LogSoftmax", "s", "z", axis=-1)], 17, lambda z: z.log_softmax(1)),
    "log_of_softmax": ([node("Softmax", "s", "p"), node("Log", "p", "z")], 17, lambda z: z.log_softmax(1)),
    "softmax_moved": (
        [
            node("Unsqueeze", "s", "u", "two"),
            node("Softmax", "u", "p", axis=1),
            node("Flatten", "p", "f"),
            node("Identity", "f", "z"),
        ],
        17,
        lambda z: z.softmax(1),
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_final_softmax_is_taken_off(tmp_path: Path, name: str) -> None:
    nodes, opset, function = FUNCTIONS[name]
    path = written(tmp_path / "net.onnx", nodes, opset=opset, two=np.array([2, 3], dtype=np.int64))
    logits, probabilities = read_onnx(path), read_onnx(path, output="probabilities")
    assert "softmax is taken off" in logits.notes[-1]
    assert not probabilities.notes
    assert torch.allclose(function(logits(X)), returned(path, X), atol=1e-5)
    assert torch.allclose(probabilities(X), returned(path, X), atol=1e-5)
    assert (logits(X) < 0).any()


def test_a_softmax_over_part_of_a_row_stays(tmp_path: Path) -> None:
    nodes = [
        node("Reshape", "s", "r", "shape"),
        node("Softmax", "r", "p", axis=2),
        node("Flatten", "p", "z"),
    ]
    path = written(tmp_path / "net.onnx", nodes, shape=np.array([0, 2, 2], dtype=np.int64))
    graph = read_onnx(path)
    assert not graph.notes
    assert torch.allclose(graph(X), returned(path, X), atol=1e-5)


def test_one_probability_becomes_two_logits(tmp_path: Path) -> None:
    path = written(tmp_path / "net.onnx", [node("Sigmoid", "s", "z")], classes=1)
    logits, probabilities = read_onnx(path), read_onnx(path, output="probabilities")
    assert ["taken off" in note for note in logits.notes] == [True, False]
    assert "the two logits (0, z)" in logits.notes[1]
    assert (logits(X)[:, 0] == 0).all()
    share = returned(path, X)
    assert torch.allclose(logits(X).softmax(1)[:, 1:], share, atol=1e-5)
    assert torch.allclose(probabilities(X), torch.cat([1 - share, share], 1), atol=1e-5)


def test_one_score_becomes_two_logits(tmp_path: Path) -> None:
    path = written(tmp_path / "net.onnx", [node("Identity", "s", "z")], classes=1)
    graph = read_onnx(path)
    assert "the two logits (0, z)" in graph.notes[0]
    assert torch.allclose(graph(X)[:, 1:], returned(path, X), atol=1e-5)
    with pytest.raises(InputError, match="ends in no softmax or sigmoid"):
        read_onnx(path, output="probabilities")


@pytest.mark.parametrize("operator", ["Softmax", "HardSigmoid"])
def test_one_number_that_is_no_score_is_refused(tmp_path: Path, operator: str) -> None:
    path = written(tmp_path / "net.onnx", [node(operator, "s", "z")], classes=1)
    with pytest.raises(ModelError, match=f"one number per example, and ends in {operator}"):
        read_onnx(path)


def test_a_probability_and_its_complement_become_two_logits(tmp_path: Path) -> None:
    nodes = [
        node("Sigmoid", "s", "p"),
        node("Sub", "one", "q", "p"),
        helper.make_node("Concat", ["q", "p"], ["z"], axis=1),
    ]
    path = written(tmp_path / "net.onnx", nodes, classes=1, one=np.ones(1, np.float32))
    graph = read_onnx(path)
    assert torch.allclose(graph(X).softmax(1), returned(path, X), atol=1e-5)


def test_axes_of_length_one_are_left_out(tmp_path: Path) -> None:
    nodes = [node("Unsqueeze", "s", "u", "two"), node("Softmax", "u", "z", axis=1)]
    output = helper.make_tensor_value_info("z", FLOAT, ["n", 4, 1, 1])
    path = written(tmp_path / "net.onnx", nodes, outputs=(output,), two=np.array([2, 3], dtype=np.int64))
    graph = read_onnx(path)
    assert "is read as (n, 4)" in graph.notes[0]
    assert torch.allclose(graph(X).softmax(1), returned(path, X).flatten(1), atol=1e-5)


def _several(path: Path) -> Path:
    outputs = [helper.make_tensor_value_info(name, FLOAT, ["n", 4]) for name in ("first", "second:0")]
    outputs.append(helper.make_tensor_value_info("label", INT64, ["n"]))
    nodes = [
        node("Softmax", "s", "first"),
        node("Relu", "s", "second:0"),
        node("ArgMax", "s", "label", axis=1, keepdims=0),
    ]
    return written(path, nodes, outputs=tuple(outputs))


def test_one_of_several_outputs_is_named(tmp_path: Path) -> None:
    path = _several(tmp_path / "net.onnx")
    with pytest.raises(ModelError, match=r"first, second:0, label.*output=NAME"):
        read_onnx(path)
    with pytest.raises(InputError, match="no output 'third'"):
        read_onnx(path, output="third")
    with pytest.raises(ModelError, match="label .*not a tensor of floats"):
        read_onnx(path, output="label")
    assert torch.allclose(read_onnx(path, output="second:0")(X), returned(path, X, "second:0"), atol=1e-5)
    assert torch.allclose(read_onnx(path, output="first")(X).softmax(1), returned(path, X, "first"), atol=1e-5)
    assert torch.allclose(read_onnx(path, output="first:probabilities")(X), returned(path, X, "first"), atol=1e-5)


def _scikit(path: Path, classes: int, function: str, *, dictionaries: bool) -> Path:
    """Write a linear classifier as scikit-learn's converter does: labels, and scores as dictionaries or a tensor."""
    rows = weights(classes, 6)
    shift = weights(classes)
    if classes == 2:
        rows[0], shift[0] = -rows[1], -shift[1]
    linear = helper.make_node(
        "LinearClassifier",
        ["x"],
        ["label", "raw"],
        domain="ai.onnx.ml",
        coefficients=rows.reshape(-1).tolist(),
        intercepts=shift.tolist(),
        classlabels_ints=list(range(classes)),
        post_transform=function,
    )
    normal = helper.make_node("Normalizer", ["raw"], ["p"], domain="ai.onnx.ml", norm="L1")
    last = node("Identity", "p", "z")
    output = helper.make_tensor_value_info("z", FLOAT, ["n", classes])
    if dictionaries:
        last = helper.make_node("ZipMap", ["p"], ["z"], domain="ai.onnx.ml", classlabels_int64s=list(range(classes)))
        mapping = helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, None))
        output = helper.make_value_info("z", helper.make_sequence_type_proto(mapping))
    label = helper.make_tensor_value_info("label", INT64, ["n"])
    return written(path, [linear, normal, last], outputs=(label, output))


@pytest.mark.parametrize(
    ("classes", "function", "dictionaries"),
    [(classes, f, d) for classes, f in ((4, "SOFTMAX"), (4, "LOGISTIC"), (2, "LOGISTIC")) for d in (False, True)]
    + [(4, "NONE", False)],
)
def test_outputs_of_scikit_learn(tmp_path: Path, classes: int, function: str, dictionaries: bool) -> None:
    path = _scikit(tmp_path / "net.onnx", classes, function, dictionaries=dictionaries)
    graph = read_onnx(path)
    assert "z is read, and label left aside" in graph.notes[0]
    assert any("taken off" in note for note in graph.notes) == (function != "NONE")
    if function != "NONE":
        assert torch.equal(graph(X).argmax(1), returned(path, X, "label"))


def test_what_is_taken_off_is_verified(tmp_path: Path) -> None:
    nodes = [
        node("Sigmoid", "s", "p"),
        node("Sub", "two", "q", "p"),
        helper.make_node("Concat", ["q", "p"], ["z"], axis=1),
    ]
    path = written(tmp_path / "net.onnx", nodes, classes=1, two=np.full(1, 2, np.float32))
    with pytest.raises(ModelError, match="with its sigmoid differs"):
        read_onnx(path)
