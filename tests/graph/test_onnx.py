"""Every operator is checked against onnxruntime at 1,000 points by reading the file at all."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from epsball.errors import EpsballError, InputError, ModelError, UnsupportedOperation
from epsball.graph import GraphModule
from epsball.graph.onnx import read_onnx
from graph.onnx_models import save, weights, with_head

IMAGE = (2, 6, 6)


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def node(operator: str, *inputs: str, outputs: tuple[str, ...] = ("y",), **attributes):
    return helper.make_node(operator, ["x", *inputs], list(outputs), **attributes)


# name: (nodes from x to y, arrays, entries of y, operator sets, shape of one input)
OPERATORS = {
    **{
        name.lower(): ([node(name)], {}, 72, (7, 13, 17), IMAGE)
        for name in ("Relu", "Sigmoid", "Tanh", "Abs", "Exp", "Neg", "Softplus", "Softsign", "Elu", "Selu", "Identity")
    },
    "erf": ([node("Erf")], {}, 72, (9, 13), IMAGE),
    "gelu": ([node("Gelu", approximate="tanh")], {}, 72, (20,), IMAGE),
    "mish": ([node("Mish")], {}, 72, (18,), IMAGE),
    "celu": ([node("Celu", alpha=0.6)], {}, 72, (12,), IMAGE),
    "hard_swish": ([node("HardSwish")], {}, 72, (14,), IMAGE),
    "hard_sigmoid": ([node("HardSigmoid", alpha=0.3, beta=0.4)], {}, 72, (7,), IMAGE),
    "leaky_relu": ([node("LeakyRelu", alpha=0.2)], {}, 72, (7,), IMAGE),
    "prelu": ([node("PRelu", "a")], {"a": weights(2, 1, 1)}, 72, (9,), IMAGE),
    "clip_old": ([node("Clip", min=-0.2, max=0.4)], {}, 72, (7,), IMAGE),
    "clip": ([node("Clip", "low", "high")], {"low": np.float32(-0.2), "high": np.float32(0.4)}, 72, (11, 13), IMAGE),
    "clip_below": ([node("Clip", "low")], {"low": np.float32(0.1)}, 72, (13,), IMAGE),
    "square": ([node("Pow", "two")], {"two": np.float32(2)}, 72, (7, 13), IMAGE),
    "cube": ([node("Pow", "three")], {"three": np.float32(3)}, 72, (13,), IMAGE),
    "add": ([node("Add", "a")], {"a": weights(6)}, 72, (7,), IMAGE),
    "sub_div": (
        [node("Sub", "a", outputs=("s",)), helper.make_node("Div", ["s", "b"], ["y"])],
        {"a": weights(1, 2, 1, 1), "b": np.abs(weights(1, 2, 1, 1)) + 1},
        72,
        (9,),
        IMAGE,
    ),
    "mul_self": ([node("Mul", "x")], {}, 72, (7,), IMAGE),
    "max": ([node("Max", "a", "b")], {"a": weights(6), "b": np.float32(0.1)}, 72, (8, 13), IMAGE),
    "min": ([node("Min", "a")], {"a": weights(6)}, 72, (8,), IMAGE),
    "gemm_plain": (
        [node("Flatten", outputs=("f",)), helper.make_node("Gemm", ["f", "w"], ["y"])],
        {"w": weights(72, 4)},
        4,
        (11,),
        IMAGE,
    ),
    "gemm_scaled": (
        [node("Flatten", outputs=("f",)), helper.make_node("Gemm", ["f", "w", "c"], ["y"], alpha=0.5, beta=2.0)],
        {"w": weights(72, 4), "c": weights(4)},
        4,
        (7,),
        IMAGE,
    ),
    "matmul": ([node("MatMul", "w")], {"w": weights(6, 4)}, 48, (9,), IMAGE),
    "matmul_batched": ([node("MatMul", "w")], {"w": weights(2, 6, 4)}, 48, (9,), IMAGE),
    "matmul_left": ([helper.make_node("MatMul", ["w", "x"], ["y"])], {"w": weights(4, 6)}, 48, (9,), IMAGE),
    "matmul_self": (
        [node("Transpose", perm=[0, 1, 3, 2], outputs=("t",)), helper.make_node("MatMul", ["x", "t"], ["y"])],
        {},
        72,
        (9,),
        IMAGE,
    ),
    "conv": (
        [node("Conv", "w", "b", pads=[1, 1, 1, 1], strides=[2, 1])],
        {"w": weights(3, 2, 3, 3), "b": weights(3)},
        54,
        (7, 11),
        IMAGE,
    ),
    "conv_uneven": ([node("Conv", "w", pads=[0, 1, 2, 0])], {"w": weights(3, 2, 3, 3)}, 90, (11,), IMAGE),
    "conv_same": (
        [node("Conv", "w", auto_pad="SAME_LOWER", strides=[2, 2])],
        {"w": weights(3, 2, 2, 3)},
        27,
        (11,),
        IMAGE,
    ),
    "conv_groups": ([node("Conv", "w", group=2, dilations=[2, 1])], {"w": weights(4, 1, 2, 2)}, 80, (11,), IMAGE),
    "conv_transpose": (
        [node("ConvTranspose", "w", strides=[2, 2], pads=[0, 1, 1, 0], output_padding=[1, 1])],
        {"w": weights(2, 3, 3, 3)},
        507,
        (11,),
        IMAGE,
    ),
    "batch_norm": (
        [node("BatchNormalization", "s", "b", "m", "v", epsilon=1e-3)],
        {"s": weights(2), "b": weights(2), "m": weights(2), "v": np.abs(weights(2)) + 0.5},
        72,
        (7, 9, 15),
        IMAGE,
    ),
    "max_pool": ([node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])], {}, 18, (8, 12), IMAGE),
    "max_pool_uneven": (
        [node("MaxPool", kernel_shape=[3, 2], strides=[2, 1], pads=[0, 0, 1, 1])],
        {},
        36,
        (12,),
        IMAGE,
    ),
    "max_pool_same": (
        [node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")],
        {},
        18,
        (12,),
        IMAGE,
    ),
    "average_pool": ([node("AveragePool", kernel_shape=[2, 2], strides=[2, 2])], {}, 18, (7, 11), IMAGE),
    "average_pool_padded": (
        [node("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])],
        {},
        18,
        (11,),
        IMAGE,
    ),
    "global_average_pool": ([node("GlobalAveragePool")], {}, 2, (7,), IMAGE),
    "global_max_pool": ([node("GlobalMaxPool")], {}, 2, (7,), IMAGE),
    "reduce_mean": ([node("ReduceMean", axes=[2, 3], keepdims=0)], {}, 2, (11,), IMAGE),
    "reduce_sum": ([node("ReduceSum", "axes")], {"axes": ints(-1)}, 12, (13,), IMAGE),
    "reduce_max": ([node("ReduceMax", axes=[1])], {}, 36, (12,), IMAGE),
    "reduce_min": ([node("ReduceMin", axes=[1])], {}, 36, (12,), IMAGE),
    "reduce_l2": ([node("ReduceL2", axes=[1, 2])], {}, 6, (12,), IMAGE),
    "reduce_log_sum_exp": ([node("ReduceLogSumExp", axes=[3])], {}, 12, (12,), IMAGE),
    "softmax_old": ([node("Softmax", axis=2)], {}, 72, (11,), IMAGE),
    "softmax": ([node("Softmax", axis=1)], {}, 72, (13,), IMAGE),
    "log_softmax": ([node("LogSoftmax")], {}, 72, (13,), IMAGE),
    "layer_norm": ([node("LayerNormalization", "s", "b")], {"s": weights(6), "b": weights(6)}, 72, (17,), IMAGE),
    "instance_norm": ([node("InstanceNormalization", "s", "b")], {"s": weights(2), "b": weights(2)}, 72, (7,), IMAGE),
    "reshape": ([node("Reshape", "shape")], {"shape": ints(0, -1, 3)}, 72, (7, 14), IMAGE),
    "reshape_one": ([node("Reshape", "shape")], {"shape": ints(1, -1)}, 72, (7,), IMAGE),
    "reshape_flat_and_back": (
        [node("Reshape", "all", outputs=("f",)), helper.make_node("Reshape", ["f", "rows"], ["y"])],
        {"all": ints(-1), "rows": ints(1, 72)},
        72,
        (13,),
        IMAGE,
    ),
    "squeeze": (
        [node("Unsqueeze", "a", outputs=("u",)), helper.make_node("Squeeze", ["u", "a"], ["y"])],
        {"a": ints(2)},
        72,
        (13,),
        IMAGE,
    ),
    "unsqueeze_old": ([node("Unsqueeze", axes=[1])], {}, 72, (11,), IMAGE),
    "transpose": ([node("Transpose", perm=[0, 2, 3, 1])], {}, 72, (7,), IMAGE),
    "expand": (
        [node("ReduceMax", axes=[3], outputs=("m",)), helper.make_node("Expand", ["m", "to"], ["y"])],
        {"to": ints(1, 1, 4)},
        48,
        (12,),
        IMAGE,
    ),
    "tile": ([node("Tile", "times")], {"times": ints(1, 2, 1, 1)}, 144, (13,), IMAGE),
    "concat": (
        [node("Neg", outputs=("n",)), helper.make_node("Concat", ["x", "n"], ["y"], axis=1)],
        {},
        144,
        (11,),
        IMAGE,
    ),
    "split": (
        [
            node("Split", axis=2, split=[2, 4], outputs=("a", "b")),
            helper.make_node("Concat", ["b", "a"], ["y"], axis=-2),
        ],
        {},
        72,
        (11,),
        IMAGE,
    ),
    "slice_old": ([node("Slice", starts=[1, -2], ends=[5, 100], axes=[2, 3])], {}, 16, (9,), IMAGE),
    "slice": (
        [node("Slice", "starts", "ends", "axes", "steps")],
        {"starts": ints(5, 0), "ends": ints(-7, 6), "axes": ints(2, 3), "steps": ints(-2, 3)},
        12,
        (10, 13),
        IMAGE,
    ),
    "gather": ([node("Gather", "i", axis=3)], {"i": ints(0, 5, 2)}, 36, (11,), IMAGE),
    "gather_one": ([node("Gather", "i", axis=1)], {"i": np.array(1)}, 36, (11,), IMAGE),
    "pad_old": ([node("Pad", pads=[0, 0, 1, 0, 0, 0, 0, 2], value=0.5)], {}, 112, (7,), IMAGE),
    "pad_reflect": (
        [node("Pad", "pads", mode="reflect")],
        {"pads": ints(0, 0, 1, 1, 0, 0, 2, 2)},
        162,
        (11, 13),
        IMAGE,
    ),
    "pad_cut": ([node("Pad", "pads")], {"pads": ints(0, 0, -1, 0, 0, 0, 0, -2)}, 40, (13,), IMAGE),
    "upsample": ([node("Upsample", "s")], {"s": np.array([1, 1, 2, 2], np.float32)}, 288, (9,), IMAGE),
    "resize_nearest": (
        [node("Resize", "", "s", mode="nearest")],
        {"s": np.array([1, 1, 1.5, 2], np.float32)},
        216,
        (13,),
        IMAGE,
    ),
    "resize_linear": (
        [node("Resize", "", "", "n", mode="linear", coordinate_transformation_mode="align_corners")],
        {"n": ints(1, 2, 9, 4)},
        72,
        (13,),
        IMAGE,
    ),
    "resize_half_pixel": (
        [node("Resize", "", "s", mode="linear")],
        {"s": np.array([1, 1, 2, 2], np.float32)},
        288,
        (13,),
        IMAGE,
    ),
    "depth_to_space": (
        [node("Concat", "x", axis=1, outputs=("c",)), helper.make_node("DepthToSpace", ["c"], ["y"], blocksize=2)],
        {},
        144,
        (11,),
        IMAGE,
    ),
    "space_to_depth": ([node("SpaceToDepth", blocksize=3)], {}, 72, (11,), IMAGE),
    "shape_arithmetic": (
        [
            node("Shape", outputs=("s",)),
            helper.make_node("Gather", ["s", "zero"], ["n"], axis=0),
            helper.make_node("Unsqueeze", ["n", "zero_axis"], ["n1"]),
            helper.make_node("Concat", ["n1", "minus"], ["to"], axis=0),
            helper.make_node("Reshape", ["x", "to"], ["y"]),
        ],
        {"zero": np.array(0), "zero_axis": ints(0), "minus": ints(-1)},
        72,
        (13,),
        IMAGE,
    ),
    "constant_node": (
        [
            helper.make_node("Constant", [], ["c"], value=onnx.numpy_helper.from_array(weights(6))),
            helper.make_node("Add", ["c", "x"], ["y"]),
        ],
        {},
        72,
        (11,),
        IMAGE,
    ),
}


@pytest.mark.parametrize("first", [1, "n"])
@pytest.mark.parametrize(("name", "opset"), [(name, opset) for name, case in OPERATORS.items() for opset in case[3]])
def test_an_operator_is_what_onnxruntime_computes(tmp_path: Path, name: str, opset: int, first: int | str) -> None:
    if first == "n" and name in ("reshape_one", "reshape_flat_and_back", "resize_linear"):
        pytest.skip("this file fits one example only")
    nodes, arrays, width, _, shape = OPERATORS[name]
    graph = read_onnx(with_head(tmp_path / "net.onnx", nodes, arrays, (first, *shape), width, opset))
    assert graph.input.shape == shape
    assert graph.classes == 3
    x = torch.rand(5, *shape)
    rows = torch.cat([graph(row[None]) for row in x])
    assert torch.allclose(graph(x), rows, atol=1e-5)


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
    for _ in range(150):
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
        ([node("Sign")], {}, "Sign in net.onnx.*has no rule"),
        ([node("Relu", domain="com.example")], {}, "com.example"),
        ([node("Resize", "", "s", mode="cubic")], {"s": np.array([1, 1, 2, 2], np.float32)}, "cubic"),
        ([node("Pow", "p")], {"p": np.float32(2.7)}, "exponent"),
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


def test_the_comparison_is_made_once_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    path = with_head(tmp_path / "net.onnx", *RELU)
    session = "epsball.graph.onnx.runtime._session"
    original = __import__("epsball.graph.onnx.runtime", fromlist=["_session"])._session
    monkeypatch.setattr(session, lambda file: runs.append(file) or original(file))
    for _ in range(2):
        read_onnx(path)
    assert len(runs) == 1
    with_head(path, *RELU)
    read_onnx(path)
    assert len(runs) == 2


def test_a_graph_that_differs_from_the_runtime_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = with_head(tmp_path / "net.onnx", [node("LeakyRelu", alpha=0.2)], {}, (1, *IMAGE), 72)
    monkeypatch.setitem(
        __import__("epsball.graph.onnx.rule", fromlist=["RULES"]).RULES,
        "LeakyRelu",
        lambda call: call.unary("leaky_relu", 0.21),
    )
    with pytest.raises(ModelError, match="differs from it"):
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
