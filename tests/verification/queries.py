"""Small networks as ONNX files, and queries about them as texts."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
from onnx import helper, numpy_helper

Layer = tuple[np.ndarray, np.ndarray]


def network(path: Path, layers: Sequence[Layer], *, dtype=np.float32, shape=None, last=None) -> Path:
    """Write x -> W_L relu(... relu(W_1 x + b_1)) + b_L, with an operator `last` after it."""
    nodes, arrays, name = [], {}, "x"
    if shape is not None:
        nodes.append(helper.make_node("Flatten", ["x"], ["flat"]))
        name = "flat"
    for number, (weight, bias) in enumerate(layers):
        arrays |= {f"w{number}": weight.astype(dtype), f"b{number}": bias.astype(dtype)}
        nodes.append(helper.make_node("Gemm", [name, f"w{number}", f"b{number}"], [f"z{number}"], transB=1))
        name = f"z{number}"
        if number < len(layers) - 1:
            nodes.append(helper.make_node("Relu", [name], [f"r{number}"]))
            name = f"r{number}"
    if last is not None:
        nodes.append(helper.make_node(last, [name], ["last"]))
        name = "last"
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", kind, [1, *(shape or [layers[0][0].shape[1]])])],
        [helper.make_tensor_value_info(name, kind, [1, layers[-1][0].shape[0]])],
        [numpy_helper.from_array(array, key) for key, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def absolute_value(path: Path, **options) -> Path:
    """Write the network y = abs(x) of one input."""
    return network(path, [(np.array([[1.0], [-1.0]]), np.zeros(2)), (np.array([[1.0, 1.0]]), np.zeros(1))], **options)


def query(path: Path, inputs: int, outputs: int, *assertions: str) -> Path:
    """Write a query of version 1.0."""
    lines = [f"(declare-const X_{i} Real)" for i in range(inputs)] + [
        f"(declare-const Y_{i} Real)" for i in range(outputs)
    ]
    path.write_text("\n".join([*lines, *(f"(assert {one})" for one in assertions)]))
    return path


def between(low: str, high: str, place: int = 0) -> str:
    """Return the assertion that an input lies in an interval."""
    return f"(and (>= X_{place} {low}) (<= X_{place} {high}))"


def exact_pieces(layers: Sequence[Layer], low: Fraction, high: Fraction) -> list[Fraction]:
    """Return the points of an interval between which a network of one input is linear in every entry, exactly."""
    points = [low, high]
    for depth in range(len(layers) - 1):
        found = set(points)
        for left, right in pairwise(points):
            for at_left, at_right in zip(_entries(layers, depth, left), _entries(layers, depth, right), strict=True):
                if at_left * at_right < 0:
                    found.add(left + (right - left) * at_left / (at_left - at_right))
        points = sorted(found)
    return points


def exact_output(layers: Sequence[Layer], x: Fraction) -> list[Fraction]:
    """Return the output at a point, exactly."""
    return _entries(layers, len(layers) - 1, x)


def _entries(layers: Sequence[Layer], depth: int, x: Fraction) -> list[Fraction]:
    values = [x]
    for number in range(depth + 1):
        weight, bias = layers[number]
        values = [
            sum((Fraction(float(w)) * v for w, v in zip(row, values, strict=True)), Fraction(float(b)))
            for row, b in zip(weight, bias, strict=True)
        ]
        if number < depth:
            values = [max(value, Fraction(0)) for value in values]
    return values


def random_layers(seed: int, *widths: int) -> list[Layer]:
    """Return layers whose weights are float32."""
    draw = np.random.default_rng(seed)
    return [
        (draw.standard_normal((m, n)).astype(np.float32), draw.standard_normal(m).astype(np.float32) * 0.5)
        for n, m in pairwise(widths)
    ]
