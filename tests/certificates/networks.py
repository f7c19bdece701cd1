"""Small networks as graphs, written by hand: no capture stands between a test and what it tests."""

import itertools
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from epsball.ball import Ball
from epsball.graph import Graph, Node
from epsball.graph.kinds import Elementwise, Input, Linear


def relu_net(layers: Sequence[tuple[Tensor, Tensor]]) -> Graph:
    """Return the ReLU network of (weight, bias) pairs, float32."""
    width = layers[0][0].shape[1]
    nodes = [Node(name="x", kind=Input(), shape=(width,))]
    parameters = {}
    for i, (weight, bias) in enumerate(layers):
        parameters |= {f"w{i}": weight, f"b{i}": bias}
        kind = Linear(weight=f"w{i}", bias=f"b{i}")
        nodes.append(Node(name=f"z{i}", kind=kind, inputs=(nodes[-1].name,), shape=(len(weight),)))
        if i < len(layers) - 1:
            kind = Elementwise(function="relu")
            nodes.append(Node(name=f"a{i}", kind=kind, inputs=(nodes[-1].name,), shape=(len(weight),)))
    return Graph(nodes=tuple(nodes), output=nodes[-1].name, parameters=parameters)


def random_relu_net(seed: int, inputs: int = 2, hidden: Sequence[int] = (3, 3), classes: int = 2) -> Graph:
    """Return a ReLU network with normal weights."""
    generator = torch.Generator().manual_seed(seed)
    widths = (inputs, *hidden, classes)
    return relu_net(
        [
            (torch.randn(after, before, generator=generator), 0.5 * torch.randn(after, generator=generator))
            for before, after in itertools.pairwise(widths)
        ]
    )


def sampled(ball: Ball, x: Tensor, count: int) -> Tensor:
    """Return points of the balls around x, (count len(x), *shape): normal steps of the radius' size, projected."""
    centres = x.repeat(count, *(1,) * (x.ndim - 1))
    return ball.project(centres + float(ball.radius) * torch.randn(centres.shape), centres)


Point = tuple[Fraction, ...]
Affine = tuple[list[list[Fraction]], list[Fraction]]


def least_margins(graph: Graph, low: Point, high: Point, predicted: int) -> dict[int, Fraction]:
    """Return the least z_p - z_j over a box in the plane, exactly: every region of activations is a polygon."""
    corners = [(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1])]
    layers = []
    count = sum(name.startswith("w") for name in graph.parameters)
    for i in range(count):
        weight = [[Fraction(w) for w in row] for row in graph.parameters[f"w{i}"].tolist()]
        layers.append((weight, [Fraction(b) for b in graph.parameters[f"b{i}"].tolist()]))
    least: dict[int, Fraction] = {}
    identity: Affine = ([[Fraction(1), Fraction(0)], [Fraction(0), Fraction(1)]], [Fraction(0), Fraction(0)])
    for polygon, (rows, shift) in _regions(corners, identity, layers):
        for x in polygon:
            z = [row[0] * x[0] + row[1] * x[1] + b for row, b in zip(rows, shift, strict=True)]
            for j in range(len(z)):
                if j != predicted:
                    least[j] = min(least.get(j, z[predicted] - z[j]), z[predicted] - z[j])
    return least


def _regions(polygon: list[Point], values: Affine, layers: list):
    """Yield the polygons on which the logits are affine, with the logits there."""
    weight, bias = layers[0]
    rows = [
        [sum((w * v[k] for w, v in zip(row, values[0], strict=True)), Fraction(0)) for k in range(2)] for row in weight
    ]
    shift = [sum((w * v for w, v in zip(row, values[1], strict=True)), b) for row, b in zip(weight, bias, strict=True)]
    if len(layers) == 1:
        yield polygon, (rows, shift)
        return
    yield from _split(polygon, rows, shift, 0, layers[1:])


def _split(polygon: list[Point], rows: list, shift: list, neuron: int, layers: list):
    if neuron == len(rows):
        yield from _regions(polygon, (rows, shift), layers)
        return
    row, b = rows[neuron], shift[neuron]
    heights = [row[0] * x[0] + row[1] * x[1] + b for x in polygon]
    if max(heights) > 0:
        yield from _split(_cut(polygon, heights, 1), rows, shift, neuron + 1, layers)
    if min(heights) <= 0:
        off = [*rows[:neuron], [Fraction(0), Fraction(0)], *rows[neuron + 1 :]]
        flat = [*shift[:neuron], Fraction(0), *shift[neuron + 1 :]]
        yield from _split(_cut(polygon, heights, -1), off, flat, neuron + 1, layers)


def _cut(polygon: list[Point], heights: list[Fraction], sign: int) -> list[Point]:
    """Return the part of a convex polygon where sign * height >= 0."""
    kept: list[Point] = []
    for i, (x, h) in enumerate(zip(polygon, heights, strict=True)):
        y, g = polygon[i - 1], heights[i - 1]
        if (h > 0 > g) or (h < 0 < g):
            t = g / (g - h)
            kept.append((y[0] + t * (x[0] - y[0]), y[1] + t * (x[1] - y[1])))
        if sign * h >= 0:
            kept.append(x)
    return kept
