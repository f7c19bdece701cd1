"""Reading a file checks every operator against onnxruntime."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from epsball import Ball, Classifier, certify, progress
from epsball.errors import EpsballError, InputError, ModelError, UnsupportedOperation
from epsball.graph import GraphModule, operations
from epsball.graph.onnx import read_onnx, runtime
from epsball.graph.onnx.rule import RULES
from epsball.graph.onnx.session import Session
from graph.onnx_models import save, weights, with_head
from graph.onnx_operators import IMAGE, OPERATORS, ints, node


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare with onnxruntime at fewer points."""
    monkeypatch.setattr("epsball.graph.onnx.runtime.POINTS", 200)


@pytest.mark.usefixtures("few_points")
@pytest.mark.parametrize("first", [1, "n"])
@pytest.mark.parametrize(("name", "opset"), [(name, opset) for name, case in OPERATORS.items() for opset in case[3]])
def test_an_operator_is_what_onnxruntime_computes(tmp_path: Path, name: str, opset: int, first: int | str) -> None:
    nodes, arrays, width, _, shape = OPERATORS[name]
    graph = read_onnx(with_head(tmp_path / "net.onnx", nodes, arrays, (first, *shape), width, opset))
    assert graph.input.shape == shape
    assert graph.classes == 3
    fits_one = name in ("reshape_one", "reshape_flat_and_back", "resize_linear", "attention")
    assert bool(graph.notes) == (first == "n" and fits_one)
    x = torch.rand(5, *shape)
    rows = torch.cat([graph(row[None]) for row in x])
    assert torch.allclose(graph(x), rows, atol=1e-5)


@pytest.mark.usefixtures("few_points")
@pytest.mark.parametrize("padding", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("pool", ["MaxPool", "AveragePool"])
def test_automatic_padding_of_dilated_pools_is_that_of_onnxruntime(tmp_path: Path, pool: str, padding: str) -> None:
    options = {"kernel_shape": [3, 3], "strides": [2, 2], "dilations": [2, 1], "auto_pad": padding}
    nodes = [node(pool, **options), helper.make_node("Flatten", ["y"], ["z"])]
    path = save(tmp_path / "net.onnx", nodes, {}, ("n", 4, 5, 6), 21, output=["n", "k"])
    assert read_onnx(path).classes in (8, 16, 24)


RELU = ([node("Relu")], {}, (1, *IMAGE), 72)


def test_a_truncated_file_is_explained(tmp_path: Path) -> None:
    path = with_head(tmp_path / "net.onnx", *RELU)
    content = path.read_bytes()
    for kept in {*range(0, len(content), 37), len(content) - 1}:
        path.write_bytes(content[:kept])
        with pytest.raises((InputError, ModelError)):
            read_onnx(path)


def test_bytes_changed_at_random_never_crash(tmp_path: Path) -> None:
    path = with_head(tmp_path / "net.onnx", *RELU)
    content = path.read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(80):
        changed = bytearray(content)
        for at in generator.integers(0, min(len(content), 250), 3):
            changed[at] = int(generator.integers(256))
        path.write_bytes(bytes(changed))
        try:
            graph = read_onnx(path)
        except EpsballError:
            continue
        assert graph(torch.rand(2, *graph.input.shape)).shape == (2, graph.classes)


@pytest.mark.parametrize("name", ["../secret.bin", "/etc/hostname"])
def test_data_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(1000))
    (tmp_path / "models").mkdir()
    path = _external(tmp_path / "models" / "net.onnx", name)
    with pytest.raises(InputError, match="outside its folder"):
        read_onnx(path)


def test_a_link_to_data_outside_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(1000))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "data.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(InputError, match="outside its folder"):
        read_onnx(_external(tmp_path / "models" / "net.onnx", "data.bin"))


def test_external_data_is_read(tmp_path: Path) -> None:
    path = _external(tmp_path / "net.onnx", "data.bin")
    with pytest.raises(InputError, match="not beside it"):
        read_onnx(path)
    (tmp_path / "data.bin").write_bytes(bytes(100))
    with pytest.raises(InputError, match="cut off"):
        read_onnx(path)
    head = weights(3, 72)
    (tmp_path / "data.bin").write_bytes(head.tobytes())
    graph = read_onnx(path)
    assert any(torch.equal(tensor, torch.from_numpy(head)) for tensor in graph.parameters.values())


def _external(path: Path, name: str) -> Path:
    with_head(path, *RELU)
    model = onnx.load_model_from_string(path.read_bytes())
    (tensor,) = [tensor for tensor in model.graph.initializer if tensor.name == "head"]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", name), ("offset", "0"), ("length", str(3 * 72 * 4))):
        tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("nodes", "arrays", "words"),
    [
        ([node("Det")], {}, "Det in net.onnx.*has no rule"),
        ([node("Relu", domain="com.example")], {}, "com.example"),
        ([node("Resize", "", "s", mode="cubic")], {"s": np.array([1, 1, 2, 2], np.float32)}, "cubic"),
        ([node("Pow", "p")], {"p": np.arange(6, dtype=np.float32)}, "exponents differ"),
        ([node("Pow", "p")], {"p": np.float32(0)}, "1 everywhere"),
        (
            [node("Greater", "c", outputs=("m",)), helper.make_node("Where", ["m", "x", "i"], ["y"])],
            {"c": np.float32(0.5), "i": np.float32(-np.inf)},
            "depends on the input",
        ),
        ([node("RandomNormalLike")], {}, "random"),
        ([node("Cast", to=10)], {}, "leaves float32"),
    ],
)
def test_what_has_no_rule_is_named(tmp_path: Path, nodes, arrays, words: str) -> None:
    with pytest.raises((UnsupportedOperation, InputError), match=words):
        read_onnx(with_head(tmp_path / "net.onnx", nodes, arrays, (1, *IMAGE), 72))


def test_a_fixed_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="must be the batch"):
        read_onnx(with_head(tmp_path / "net.onnx", [node("Relu")], {}, (4, *IMAGE), 72))


def test_rows_that_depend_on_each_other_are_refused(tmp_path: Path) -> None:
    nodes = [node("ReduceMean", axes=[0], outputs=("m",)), helper.make_node("Sub", ["x", "m"], ["y"])]
    with pytest.raises(ModelError, match="depend on the batch"):
        read_onnx(with_head(tmp_path / "net.onnx", nodes, {}, ("n", *IMAGE), 72))


def test_open_lengths_need_a_shape(tmp_path: Path) -> None:
    path = with_head(tmp_path / "net.onnx", [node("Relu")], {}, ("n", 2, "h", "w"), 72)
    with pytest.raises(InputError, match="shape=3x32x32"):
        read_onnx(path)
    assert read_onnx(path, shape=IMAGE).input.shape == IMAGE


def test_inputs_in_another_shape(tmp_path: Path) -> None:
    path = with_head(tmp_path / "net.onnx", [node("Relu")], {}, (1, 4, 4, 3), 48)
    plain, moved, flat = (read_onnx(path, shape=shape) for shape in (None, (3, 4, 4), (48,)))
    x = torch.rand(3, 4, 4, 3)
    assert torch.equal(moved(x.permute(0, 3, 1, 2)), plain(x))
    assert torch.equal(flat(x.flatten(1)), plain(x))
    with pytest.raises(InputError, match="does not fill"):
        read_onnx(path, shape=(3, 5, 5))


def test_the_comparison_is_made_once_per_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    path = with_head(tmp_path / "net.onnx", *RELU)
    monkeypatch.setattr(runtime, "Session", lambda *given: runs.append(given) or Session(*given))
    for _ in range(2):
        read_onnx(path)
    assert len(runs) == 1
    with_head(path, *RELU)
    read_onnx(path)
    assert len(runs) == 2


def test_a_graph_that_differs_from_the_runtime_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = with_head(tmp_path / "net.onnx", [node("LeakyRelu", alpha=0.2)], {}, (1, *IMAGE), 72)
    monkeypatch.setitem(RULES, "LeakyRelu", lambda call: call.unary("leaky_relu", 0.21))
    with pytest.raises(ModelError, match="They first differ at LeakyRelu y"):
        read_onnx(path)


def test_a_vector_of_logits_is_one_row(tmp_path: Path) -> None:
    nodes = [
        node("Reshape", "all", outputs=("f",)),
        helper.make_node("MatMul", ["f", "w"], ["z"]),
    ]
    path = save(tmp_path / "net.onnx", nodes, {"all": ints(-1), "w": weights(72, 3)}, (1, *IMAGE), output=[3])
    graph = read_onnx(path)
    assert graph(torch.rand(4, *IMAGE)).shape == (4, 3)


def test_float64_files_are_read(tmp_path: Path) -> None:
    arrays = {"w": weights(6, 3).astype(np.float64)}
    path = save(
        tmp_path / "net.onnx",
        [helper.make_node("MatMul", ["x", "w"], ["z"])],
        arrays,
        (1, 6),
        dtype=onnx.TensorProto.DOUBLE,
    )
    assert read_onnx(path)(torch.rand(2, 6, dtype=torch.float64)).dtype == torch.float64


def test_the_module_of_a_file_has_gradients(tmp_path: Path) -> None:
    module = GraphModule(read_onnx(with_head(tmp_path / "net.onnx", *RELU)))
    x = torch.rand(3, *IMAGE, requires_grad=True)
    module(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert all(parameter.grad is not None for parameter in module.parameters())
    with pytest.raises(InputError, match="takes inputs of shape"):
        module(torch.rand(3, 5))


def test_published_files_are_read(shared: Path) -> None:
    for path in sorted((shared / "models" / "vnncomp2021").rglob("*.onnx")):
        if "acasxu" in path.name.lower() and "_1_1_" not in path.name:
            continue
        graph = read_onnx(path)
        assert graph(torch.rand(2, *graph.input.shape)).shape == (2, graph.classes)


@pytest.mark.parametrize("code", [onnx.TensorProto.INT64, 95])
def test_inputs_of_another_type_are_refused(tmp_path: Path, code: int) -> None:
    path = with_head(tmp_path / "net.onnx", *RELU)
    model = onnx.load_model_from_string(path.read_bytes())
    model.graph.input[0].type.tensor_type.elem_type = code
    path.write_bytes(model.SerializeToString())
    with pytest.raises((ModelError, InputError)):
        read_onnx(path)


def test_constants_that_do_not_fit_are_named(tmp_path: Path) -> None:
    nodes, arrays, width, *_ = OPERATORS["shape_arithmetic"]
    wrong = {**arrays, "zero": np.array(201)}
    with pytest.raises((UnsupportedOperation, InputError), match="do not fit|well-formed"):
        read_onnx(with_head(tmp_path / "net.onnx", nodes, wrong, (1, *IMAGE), width, 13))


FOR_ONE = ([node("Reshape", "shape")], {"shape": ints(1, -1)})


def test_a_file_for_one_example_with_a_free_batch_says_so_every_time(tmp_path: Path) -> None:
    path = with_head(tmp_path / "net.onnx", *FOR_ONE, ("n", *IMAGE), 72)
    first, again = read_onnx(path), read_onnx(path)
    assert first.notes == again.notes
    assert "is free, but it is written for one example (Reshape y)" in first.notes[0]
    assert first(torch.rand(7, *IMAGE)).shape == (7, 3)


def test_a_file_for_one_example_that_fails_alone_too_says_what_to_do(tmp_path: Path, monkeypatch) -> None:
    path = with_head(tmp_path / "net.onnx", *FOR_ONE, ("n", *IMAGE), 72)
    monkeypatch.setattr(Session, "tensors", lambda self, x: _fails())
    with pytest.raises(ModelError, match=r"is free, but it is written for one example \(Reshape y\).*left open"):
        read_onnx(path)


def _fails() -> None:
    raise ModelError("it fails.")


def test_shapes_that_onnxruntime_works_out_otherwise_are_named(tmp_path: Path, monkeypatch) -> None:
    nodes = [node("Neg"), helper.make_node("Flatten", ["y"], ["z"])]
    path = save(tmp_path / "net.onnx", nodes, {}, ("n", *IMAGE), output=["n", "k"])
    monkeypatch.setitem(RULES, "Neg", lambda call: operations.take(call.builder, call.value(), 2, 1, 5))
    words = r"72 numbers .* returns 48.*first differ at Neg y, .*\(1, 2, 6, 6\) in onnxruntime and \(1, 2, 4, 6\) here"
    with pytest.raises(ModelError, match=words):
        read_onnx(path)


def test_few_points_come_first_and_progress_is_reported(tmp_path: Path, monkeypatch) -> None:
    path = with_head(tmp_path / "net.onnx", *RELU)
    reports, sizes = [], []
    original = Session.run
    monkeypatch.setattr(Session, "run", lambda self, x, alone: sizes.append(len(x)) or original(self, x, alone=alone))
    with progress.listening(lambda what, done, total: reports.append((what, done, total))):
        read_onnx(path)
    assert sizes[0] == runtime.FEW
    assert sum(sizes) == runtime.POINTS + runtime.FEW
    assert list(dict.fromkeys(what for what, _, _ in reports)) == [
        "reading net.onnx",
        "comparison of net.onnx with onnxruntime",
    ]
    compared = [done for what, done, _ in reports if what.startswith("comparison")]
    assert compared[0] == 0
    assert compared == sorted(compared)
    assert reports[-1][1:] == (runtime.POINTS, runtime.POINTS)


def _changed(path: Path, change: Callable[[onnx.ModelProto], object]) -> Path:
    model = onnx.load_model_from_string(path.read_bytes())
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def test_an_output_without_a_shape_is_read(tmp_path: Path) -> None:
    path = with_head(tmp_path / "net.onnx", *RELU)
    _changed(path, lambda model: model.graph.output[0].type.tensor_type.ClearField("shape"))
    assert read_onnx(path).classes == 3


def test_initialisers_may_be_inputs_too(tmp_path: Path) -> None:
    path = with_head(tmp_path / "net.onnx", *RELU)
    head = helper.make_tensor_value_info("head", onnx.TensorProto.FLOAT, [3, 72])
    assert read_onnx(_changed(path, lambda model: model.graph.input.append(head))).classes == 3


def test_functions_of_the_file_are_put_in(tmp_path: Path) -> None:
    nodes = [helper.make_node("Twice", ["x"], ["y"], domain="own")]
    path = with_head(tmp_path / "net.onnx", nodes, {}, (1, *IMAGE), 72)
    opsets = [helper.make_opsetid("", 17)]
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    function = helper.make_function("own", "Twice", ["a"], ["b"], body, opsets)

    def change(model: onnx.ModelProto) -> None:
        model.functions.append(function)
        model.opset_import.append(helper.make_opsetid("own", 1))

    assert read_onnx(_changed(path, change)).classes == 3


def test_weights_stored_in_eight_bits_are_read(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    arrays = {"q": np.arange(-12, 12, dtype=np.int8).reshape(6, 4), "scale": np.float32(0.03), "zero": np.int8(2)}
    assert read_onnx(with_head(tmp_path / "net.onnx", nodes, arrays, (1, *IMAGE), 48)).classes == 3


@pytest.mark.parametrize(
    "more",
    [
        helper.make_node("Constant", [], ["c"], value_string="text"),
        helper.make_node(
            "Constant",
            [],
            ["c"],
            sparse_value=helper.make_sparse_tensor(
                helper.make_tensor("", onnx.TensorProto.FLOAT, [1], [1.0]),
                helper.make_tensor("", onnx.TensorProto.INT64, [1], [2]),
                [6],
            ),
        ),
        helper.make_node("Identity", ["spare"], ["c"]),
    ],
)
def test_constants_of_other_kinds_are_named(tmp_path: Path, more: onnx.NodeProto) -> None:
    path = with_head(tmp_path / "net.onnx", [more, node("Add", "c")], {}, (1, *IMAGE), 72)
    spare = helper.make_sparse_tensor(
        helper.make_tensor("spare", onnx.TensorProto.FLOAT, [1], [1.0]),
        helper.make_tensor("", onnx.TensorProto.INT64, [1], [2]),
        [6],
    )
    with pytest.raises((UnsupportedOperation, InputError)):
        read_onnx(_changed(path, lambda model: model.graph.sparse_initializer.append(spare)))


def test_windows_drawn_at_random_are_read_or_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(runtime, "POINTS", 8)
    draw, read = np.random.default_rng(0), 0
    for _ in range(60):
        operator = str(draw.choice(["MaxPool", "AveragePool", "Conv", "ConvTranspose"]))
        kernel, strides, dilations = (draw.integers(1, most, 2).tolist() for most in (4, 4, 3))
        options: dict[str, Any] = {"kernel_shape": kernel, "strides": strides, "dilations": dilations}
        padding = str(draw.choice(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", "pads"]))
        options |= {"pads": draw.integers(0, 2, 4).tolist()} if padding == "pads" else {"auto_pad": padding}
        inputs, arrays = [], {}
        if operator.startswith("Conv"):
            inputs, arrays = ["w"], {"w": weights(2, 2, *kernel)}
        else:
            options["ceil_mode"] = int(draw.integers(2))
        nodes = [node(operator, *inputs, **options), helper.make_node("Flatten", ["y"], ["z"])]
        shape = draw.integers(3, 8, 2).tolist()
        path = save(tmp_path / "net.onnx", nodes, arrays, ("n", 2, *shape), 19, output=["n", "k"])
        try:
            read_onnx(path)
        except EpsballError:
            continue
        read += 1
    assert read > 40


@pytest.mark.usefixtures("few_points")
@pytest.mark.parametrize("name", ["elu", "celu", "selu", "where_varying", "shrink_jump"])
def test_what_is_read_can_be_certified(tmp_path: Path, as_users_run, name: str) -> None:
    nodes, arrays, width, opsets, shape = OPERATORS[name]
    graph = read_onnx(with_head(tmp_path / "net.onnx", nodes, arrays, ("n", *shape), width, opsets[0]))
    classifier = Classifier(GraphModule(graph))
    x = torch.full((1, *shape), 0.9)
    found = certify(classifier, x, classifier.logits(x).argmax(1), Ball("linf", "1/1000"), method="interval")
    around = (x + 0.001 * torch.rand(200, *shape).sub(0.5).sign()).clamp(0, 1)
    first = classifier.logits(around).gather(1, found.predicted.expand(200).unsqueeze(1))
    others = classifier.logits(around).scatter(1, found.predicted.expand(200).unsqueeze(1), -torch.inf).amax(1)
    assert -1e3 < float(found.margin) <= float((first[:, 0] - others).min()) + 1e-6
