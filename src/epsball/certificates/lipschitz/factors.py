"""The most a node's value can move for a move of each of its inputs: one factor per input.

||y - y'|| <= sum over inputs i of f_i ||z_i - z_i'||, in the l1, l2 or linf norm of all entries.
"""

import dataclasses
import math

import torch
from torch import Tensor

from epsball.certificates.lipschitz.spectral import convolution_bound, spectral_bound
from epsball.errors import UnsupportedOperation
from epsball.graph import Graph, Node, kinds
from epsball.graph.kinds import Elementwise, Parameters

_SAME = (kinds.Reshape, kinds.Permute, kinds.Slice, kinds.Add, kinds.Subtract, kinds.Concatenate)
_SAME_TOO = (kinds.Maximum, kinds.Minimum)
_COPYING = (kinds.Expand, kinds.Gather, kinds.Pad, kinds.MaxPool, kinds.Max)
_AVERAGING = (kinds.AveragePool, kinds.AdaptiveAveragePool, kinds.Sum, kinds.Mean, kinds.Upsample)
_UP = 1 + 2.0**-45


def factors(node: Node, graph: Graph, parameters: Parameters, norm: str) -> tuple[float, ...]:
    """Return one factor per input; constants get 0.

    Raises
    ------
    UnsupportedOperation
        If the node has no finite constant: a product or quotient of values that vary, a square.
    """
    if set(node.inputs) <= graph.constant:
        return (0.0,) * len(node.inputs)
    kind = node.kind
    if isinstance(kind, (kinds.Linear, kinds.Convolution, kinds.BatchNorm)):
        return (_weighted(node, graph, parameters, norm),)
    if isinstance(kind, (kinds.Multiply, kinds.Divide, kinds.MatMul)):
        return _product(node, graph, parameters, norm)
    if isinstance(kind, (*_SAME, *_SAME_TOO)):
        return tuple(_broadcast(node, graph, name, norm) for name in node.inputs)
    if isinstance(kind, _COPYING):
        return (_power(_most_copies(node, graph), norm),)
    if isinstance(kind, _AVERAGING):
        return (_between(*_sums(node, graph, parameters), norm),)
    if isinstance(kind, kinds.PReLU):
        return (max(1.0, float(parameters[kind.slope].abs().max())),)
    if isinstance(kind, kinds.Softmax):
        # The Jacobian diag(p) - p p^T is symmetric with absolute row sums 2 p_i (1 - p_i) <= 1/2.
        return (0.5,)
    if isinstance(kind, kinds.LogSoftmax):
        # The Jacobian I - 1 p^T has absolute row sums 2 (1 - p_i) <= 2, column sums 1 + (n - 2) p_j <= n.
        length = float(node.shape[kind.axis])
        return ({"linf": 2.0, "l2": math.sqrt(2 * length) * _UP, "l1": length}[norm],)
    if isinstance(kind, kinds.Elementwise) and (constant := largest_slope(kind)) is not None:
        return (constant,)
    raise _unbounded(node)


def row_norms(rows: Tensor, norm: str) -> Tensor:
    """Return the dual norm of each row, rounded up: how much rows . z can move for a move of z by 1."""
    order = {"linf": 1.0, "l2": 2.0, "l1": math.inf}[norm]
    return torch.linalg.vector_norm(rows, order, dim=-1) * (1 + (rows.shape[-1] + 4) * 2.0**-53) + 2.0**-500


def _weighted(node: Node, graph: Graph, parameters: Parameters, norm: str) -> float:
    kind = node.kind
    if isinstance(kind, kinds.BatchNorm):
        gain = torch.rsqrt(parameters[kind.variance] + kind.eps)
        if kind.weight is not None:
            gain = gain * parameters[kind.weight]
        return float(gain.abs().max()) * _UP
    if norm == "l2":
        weight = parameters[kind.weight]  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(kind, kinds.Linear):
            return float(spectral_bound(weight))
        return convolution_bound(kind, weight, _strided_side(node, graph)[1:])  # pyright: ignore[reportArgumentType]
    return _between(*_sums(node, graph, parameters), norm)


def _strided_side(node: Node, graph: Graph) -> tuple[int, ...]:
    transposed = isinstance(node.kind, kinds.Convolution) and node.kind.transposed
    return graph[node.inputs[0]].shape if transposed else node.shape


def _sums(node: Node, graph: Graph, parameters: Parameters) -> tuple[float, float]:
    """Return the greatest absolute row sum and column sum of an affine node, rounded up.

    Row sums are the node's value on ones with absolute weights and no bias; column sums the
    gradient of their total.
    """
    absolute = {name: tensor.abs() for name, tensor in parameters.items()}
    bias = getattr(node.kind, "bias", None)
    if bias is not None:
        absolute[bias] = torch.zeros_like(absolute[bias])
    ones = torch.ones(1, *graph[node.inputs[0]].shape, dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        value = node.kind.forward(ones, parameters=absolute)
        (columns,) = torch.autograd.grad(value.sum(), ones)
    terms = max(ones.numel(), value.numel()) + 4
    up = 1 + terms * 2.0**-53
    return float(value.detach().max()) * up, float(columns.max()) * up


def _between(rows: float, columns: float, norm: str) -> float:
    """Return the operator norm from linf (rows) or l1 (columns), or for l2 their geometric mean (Riesz-Thorin)."""
    return {"linf": rows, "l1": columns, "l2": math.sqrt(rows * columns) * _UP}[norm]


def _most_copies(node: Node, graph: Graph) -> int:
    """Return how many entries of the value one entry of the input can be in, at most."""
    shape = graph[node.inputs[0]].shape
    if isinstance(node.kind, kinds.Max):
        return 1
    if isinstance(node.kind, kinds.MaxPool):
        # Windows that hold one entry begin at taps that agree modulo the stride.
        axes = zip(node.kind.kernel, node.kind.stride, node.kind.dilation, strict=True)
        return math.prod(-(-k // (s // math.gcd(s, d))) for k, s, d in axes)
    numbers = torch.arange(1, math.prod(shape) + 1, dtype=torch.float64).reshape(1, *shape)
    # A border's own value is not an entry of the input.
    kind = dataclasses.replace(node.kind, value=0.0) if isinstance(node.kind, kinds.Pad) else node.kind
    moved = kind.forward(numbers, parameters={}).long()
    counts = torch.bincount(moved.flatten(), minlength=math.prod(shape) + 1)[1 : math.prod(shape) + 1]
    return int(counts.max())


def _power(copies: int, norm: str) -> float:
    return {"linf": 1.0, "l1": float(copies), "l2": math.sqrt(copies) * _UP}[norm]


def _broadcast(node: Node, graph: Graph, name: str, norm: str) -> float:
    if name in graph.constant:
        return 0.0
    if isinstance(node.kind, (kinds.Add, kinds.Subtract, *_SAME_TOO)):
        copies = math.prod(node.shape) // math.prod(graph[name].shape)
        return _power(copies, norm)
    return 1.0


def _product(node: Node, graph: Graph, parameters: Parameters, norm: str) -> tuple[float, ...]:
    left, right = (name in graph.constant for name in node.inputs)
    if not (left or right) or (isinstance(node.kind, kinds.Divide) and left):
        raise _unbounded(node)
    zeros = torch.zeros(1, *graph.input.shape, dtype=torch.float64)
    fixed = graph.values(zeros, parameters)[node.inputs[0] if left else node.inputs[1]]
    if isinstance(node.kind, kinds.MatMul):
        sums = fixed.abs().sum(dim=-1).max(), fixed.abs().sum(dim=-2).max()
        rows, columns = (float(s) * _UP for s in (sums if left else sums[::-1]))
        # Over the entries of one product; examples' other axes are products of their own.
        found = float(spectral_bound(fixed).max()) if norm == "l2" else _between(rows, columns, norm)
        copies = math.prod(node.shape[:-2]) // max(1, math.prod(graph[node.inputs[int(left)]].shape[:-2]))
    else:
        found = float((1 / fixed if isinstance(node.kind, kinds.Divide) else fixed).abs().max()) * _UP
        copies = math.prod(node.shape) // math.prod(graph[node.inputs[int(left)]].shape)
    found *= _power(copies, norm)
    return (0.0, found) if left else (found, 0.0)


def _unbounded(node: Node) -> UnsupportedOperation:
    return UnsupportedOperation(
        f"node '{node.name}' ({type(node.kind).__name__}{_function(node)}, {node.origin or 'origin unknown'}) has no "
        "finite Lipschitz constant: products of two values that vary, quotients, squares and attention grow without "
        "bound. Use method='crown', whose bounds are about the ball alone."
    )


def _function(node: Node) -> str:
    return f" {node.kind.function}" if isinstance(node.kind, kinds.Elementwise) else ""


# Greatest slopes, rounded up in the fourth decimal or later: gelu at sqrt(2), silu at 2.3994, mish at 1.4906.
_LARGEST_SLOPES = {
    "negative": 1.0,
    "relu": 1.0,
    "gelu": 1.12905,
    "gelu_tanh": 1.129,
    "silu": 1.09984,
    "mish": 1.0885,
    "hardswish": 1.5,
    "hardsigmoid": 0.16666666666666669,
    "sigmoid": 0.25,
    "tanh": 1.0,
    "softplus": 1.0,
    "abs": 1.0,
    "clamp": 1.0,
    "erf": 1.1283791670955129,
    "sin": 1.0,
    "cos": 1.0,
}


def largest_slope(kind: Elementwise) -> float | None:
    """Return an upper bound of the function's Lipschitz constant on the whole line, or None if there is none."""
    if kind.function == "leaky_relu":
        return max(1.0, abs(kind.arguments[0]))
    if kind.function == "elu":
        alpha, scale, input_scale = (abs(value) for value in kind.arguments)
        return max(scale, scale * alpha * input_scale) * (1 + 2.0**-50)
    return _LARGEST_SLOPES.get(kind.function)
