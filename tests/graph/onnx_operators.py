"""ONNX operators, each in a small network, on which the importer is tested."""

import numpy as np
import onnx
from onnx import helper

from graph.onnx_models import weights

IMAGE = (2, 6, 6)


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


def node(operator: str, *inputs: str, outputs: tuple[str, ...] = ("y",), **attributes):
    return helper.make_node(operator, ["x", *inputs], list(outputs), **attributes)


# name: (nodes from x to y, arrays, entries of y, operator sets, shape of one input)
OPERATORS = {
    **{
        name.lower(): ([node(name)], {}, 72, (7, 13, 17), IMAGE)
        for name in ("Relu", "Sigmoid", "Tanh", "Abs", "Exp", "Neg", "Softplus", "Softsign", "Elu", "Selu", "Identity")
    },
    **{
        name.lower(): (
            [node("Mul", "c", outputs=("m",)), helper.make_node(name, ["m"], ["y"])],
            {"c": np.float32(9)},
            72,
            (11, 13),
            IMAGE,
        )
        for name in ("Sin", "Cos", "Floor", "Ceil", "Round", "Sign")
    },
    **{
        f"{name.lower()}_{keep}": (
            [
                node(name, axis=-1, keepdims=keep, outputs=("i",)),
                helper.make_node("Cast", ["i"], ["y"], to=1),
            ],
            {},
            12,
            (11, 13),
            IMAGE,
        )
        for name in ("ArgMax", "ArgMin")
        for keep in (0, 1)
    },
    "one_hot": (
        [
            node("ArgMax", axis=1, keepdims=0, outputs=("i",)),
            helper.make_node("OneHot", ["i", "depth", "values"], ["y"], axis=1),
        ],
        {"depth": np.array(3), "values": np.array([-1, 2], np.float32)},
        108,
        (11,),
        IMAGE,
    ),
    "cast_whole": (
        [
            node("Mul", "c", outputs=("m",)),
            helper.make_node("Cast", ["m"], ["n"], to=7),
            helper.make_node("Cast", ["n"], ["t"], to=9),
            helper.make_node("Cast", ["t"], ["f"], to=1),
            helper.make_node("Cast", ["n"], ["g"], to=1),
            helper.make_node("Add", ["f", "g"], ["y"]),
        ],
        {"c": np.float32(3)},
        72,
        (13,),
        IMAGE,
    ),
    "erf": ([node("Erf")], {}, 72, (9, 13), IMAGE),
    "mean": ([node("Mean", "a", "x")], {"a": weights(6)}, 72, (8, 13), IMAGE),
    "thresholded_relu": ([node("ThresholdedRelu", alpha=0.0)], {}, 72, (10,), IMAGE),
    "shrink": ([node("Shrink", lambd=0.3, bias=0.3)], {}, 72, (9,), IMAGE),
    "thresholded_jump": ([node("ThresholdedRelu", alpha=0.3)], {}, 72, (10,), IMAGE),
    "thresholded_below": ([node("ThresholdedRelu", alpha=-0.3)], {}, 72, (10,), IMAGE),
    "shrink_jump": ([node("Shrink", lambd=0.3, bias=-0.1)], {}, 72, (9,), IMAGE),
    "shrink_negative": ([node("Shrink", lambd=-0.3, bias=0.1)], {}, 72, (9,), IMAGE),
    **{
        name.lower(): (
            [node(name, "c", outputs=("m",)), helper.make_node("Cast", ["m"], ["y"], to=1)],
            {"c": np.float32(0.5)},
            72,
            (16,),
            IMAGE,
        )
        for name in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal")
    },
    "where_varying": (
        [
            node("Greater", "c", outputs=("a",)),
            node("Less", "d", outputs=("b",)),
            helper.make_node("And", ["a", "b"], ["inside"]),
            helper.make_node("Not", ["inside"], ["outside"]),
            helper.make_node("Or", ["outside", "a"], ["m"]),
            helper.make_node("Neg", ["x"], ["n"]),
            helper.make_node("Where", ["m", "x", "n"], ["y"]),
        ],
        {"c": np.float32(0.3), "d": np.float32(0.6)},
        72,
        (9, 16),
        IMAGE,
    ),
    "swish": ([node("Swish", alpha=0.7)], {}, 72, (24,), IMAGE),
    "prelu_each": ([node("PRelu", "a")], {"a": weights(*IMAGE)}, 72, (7, 9), IMAGE),
    "prelu_columns": ([node("PRelu", "a")], {"a": weights(6)}, 72, (16,), IMAGE),
    "prelu_varying": (
        [node("Sigmoid", outputs=("s",)), helper.make_node("PRelu", ["x", "s"], ["y"])],
        {},
        72,
        (16,),
        IMAGE,
    ),
    **{
        f"power_{exponent}": (
            [
                node("Abs", outputs=("a",)),
                helper.make_node("Add", ["a", "c"], ["b"]),
                helper.make_node("Pow", ["b", "p"], ["y"]),
            ],
            {"c": np.float32(0.5), "p": np.float32(exponent)},
            72,
            (13,),
            IMAGE,
        )
        for exponent in (-3, -2, -1, -0.5, 0.5, 0.75, 4, 5, 8)
    },
    "fourth_power": ([node("Pow", "p")], {"p": np.array(4)}, 72, (12,), IMAGE),
    "exponential": ([helper.make_node("Pow", ["c", "x"], ["y"])], {"c": np.float32(1.7)}, 72, (13,), IMAGE),
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
    "einsum": ([node("Einsum", "w", equation="bchw,wk->bchk")], {"w": weights(6, 4)}, 48, (12, 17), IMAGE),
    "einsum_left": (
        [helper.make_node("Einsum", ["w", "x"], ["y"], equation="kc, bchw -> bwkh")],
        {"w": weights(4, 2)},
        144,
        (12,),
        IMAGE,
    ),
    "einsum_of_two": ([node("Einsum", "x", equation="bchw,bcwk->bckh")], {}, 72, (13,), IMAGE),
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
    **{
        f"average_pool_{i}": ([node("AveragePool", **attributes)], {}, width, (19, 21), IMAGE)
        for i, (attributes, width) in enumerate(
            [
                ({"kernel_shape": [2, 3], "dilations": [2, 1]}, 32),
                ({"kernel_shape": [2, 2], "dilations": [3, 2], "pads": [1, 0, 1, 1], "count_include_pad": 1}, 50),
                ({"kernel_shape": [2, 3], "dilations": [2, 2], "strides": [2, 1], "pads": [1, 1, 0, 1]}, 24),
                ({"kernel_shape": [3, 2], "strides": [2, 3], "pads": [0, 1, 1, 0]}, 12),
                ({"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 1, 1, 1], "ceil_mode": 1}, 24),
                ({"kernel_shape": [3, 3], "pads": [2, 2, 2, 2], "count_include_pad": 1}, 128),
                ({"kernel_shape": [1, 1], "strides": [3, 4], "auto_pad": "SAME_UPPER"}, 8),
            ]
        )
    },
    "conv_transpose_same": (
        [node("ConvTranspose", "w", strides=[2, 3], auto_pad="SAME_UPPER")],
        {"w": weights(2, 3, 3, 4)},
        648,
        (11,),
        IMAGE,
    ),
    "conv_transpose_shape": (
        [node("ConvTranspose", "w", strides=[2, 2], output_shape=[10, 12])],
        {"w": weights(2, 1, 3, 3)},
        120,
        (11,),
        IMAGE,
    ),
    "global_norm_pool": ([node("GlobalLpPool")], {}, 2, (7,), IMAGE),
    "global_average_pool": ([node("GlobalAveragePool")], {}, 2, (7,), IMAGE),
    "global_max_pool": ([node("GlobalMaxPool")], {}, 2, (7,), IMAGE),
    "reduce_mean": ([node("ReduceMean", axes=[2, 3], keepdims=0)], {}, 2, (11,), IMAGE),
    "reduce_sum": ([node("ReduceSum", "axes")], {"axes": ints(-1)}, 12, (13,), IMAGE),
    "reduce_max": ([node("ReduceMax", axes=[1])], {}, 36, (12,), IMAGE),
    "reduce_min": ([node("ReduceMin", axes=[1])], {}, 36, (12,), IMAGE),
    "reduce_l2": ([node("ReduceL2", axes=[1, 2])], {}, 6, (12,), IMAGE),
    "reduce_log_sum_exp": ([node("ReduceLogSumExp", axes=[3])], {}, 12, (12,), IMAGE),
    "reduce_log_sum": (
        [node("Exp", outputs=("e",)), helper.make_node("ReduceLogSum", ["e"], ["y"], axes=[2], keepdims=0)],
        {},
        12,
        (11, 13),
        IMAGE,
    ),
    "reduce_nothing": (
        [node("ReduceL2", "axes", noop_with_empty_axes=1)],
        {"axes": ints()},
        72,
        (18,),
        IMAGE,
    ),
    "lp_norm": ([node("LpNormalization", axis=1, p=2)], {}, 72, (7, 13), IMAGE),
    "lp_norm_of_zeros": (
        [node("Clip", "", "zero", outputs=("c",)), helper.make_node("LpNormalization", ["c"], ["y"], p=1)],
        {"zero": np.float32(0)},
        72,
        (13,),
        IMAGE,
    ),
    "mean_variance_norm": ([node("MeanVarianceNormalization", axes=[2, 3])], {}, 72, (13,), IMAGE),
    **{
        f"local_response_{size}": ([node("LRN", size=size, alpha=0.5, **more)], {}, 72, (7, 13), IMAGE)
        for size, more in ((1, {}), (3, {"bias": 2.0}), (5, {"beta": 0.5}), (7, {"beta": 1.0}))
    },
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
    "pad_edge_channels": (
        [node("Pad", "pads", mode="edge")],
        {"pads": ints(0, 1, 1, 0, 0, 0, 2, 2)},
        216,
        (13,),
        IMAGE,
    ),
    "resize_axes": (
        [node("Resize", "", "s", mode="nearest", axes=[2, 3])],
        {"s": np.array([1.5, 2], np.float32)},
        216,
        (18,),
        IMAGE,
    ),
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
    "shape_arithmetic_of_old": (
        [
            node("Shape", outputs=("s",)),
            helper.make_node("Gather", ["s", "zero"], ["n"], axis=0),
            helper.make_node("Unsqueeze", ["n"], ["n1"], axes=[0]),
            helper.make_node("Concat", ["n1", "minus"], ["to"], axis=0),
            helper.make_node("Reshape", ["x", "to"], ["y"]),
        ],
        {"zero": np.array(0), "minus": ints(-1)},
        72,
        (9, 11),
        IMAGE,
    ),
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
    "where": (
        [helper.make_node("Where", ["mask", "x", "other"], ["y"])],
        {"mask": np.arange(6) % 2 == 0, "other": np.float32(0.5)},
        72,
        (9, 16),
        IMAGE,
    ),
    "attention": (
        [
            node("Reshape", "tokens", outputs=("s",)),
            helper.make_node("Transpose", ["s"], ["t"], perm=[1, 0, 2]),
            helper.make_node("Reshape", ["t", "heads"], ["h"]),
            helper.make_node("Transpose", ["h"], ["q"], perm=[1, 0, 2]),
            helper.make_node("Transpose", ["h"], ["k"], perm=[1, 2, 0]),
            helper.make_node("MatMul", ["q", "k"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["p"], axis=-1),
            helper.make_node("MatMul", ["p", "q"], ["a"]),
            helper.make_node("Transpose", ["a"], ["b"], perm=[1, 0, 2]),
            helper.make_node("Reshape", ["b", "rows"], ["r"]),
            helper.make_node("MatMul", ["r", "w"], ["m"]),
            helper.make_node("Reshape", ["m", "back"], ["u"]),
            helper.make_node("Transpose", ["u"], ["y"], perm=[1, 0, 2]),
        ],
        {
            "tokens": ints(1, 9, 8),
            "heads": ints(9, 2, 4),
            "rows": ints(9, 8),
            "back": ints(9, 1, 8),
            "w": weights(8, 8),
        },
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
