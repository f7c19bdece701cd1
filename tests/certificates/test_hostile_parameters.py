"""Every kind with parameters drawn from a hostile set, against 200-bit arithmetic and against float32 kernels."""

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import pytest
import torch
from mpmath import mp, mpf
from torch import Tensor

from epsball.certificates import FLOAT32, REAL, Box, Domain, propagate
from epsball.certificates.curves import LinearRelaxation
from epsball.certificates.linear import sweep
from epsball.certificates.linear.coefficients import Coefficients
from epsball.errors import UnsupportedOperation
from epsball.graph import Graph, Node, kinds

HOSTILE = (0.0, 1e-42, -1e-42, 0.5, -0.7, 1.0, 3.0, 100.0, 1e30, -1e30, math.inf, -math.inf, math.nan)
INTERVALS = (
    *((-1.0, 1.0), (0.0, 0.0), (0.25, 2.0), (-3.0, -2.5), (-7.0, 5.0), (15.0, 25.0), (85.0, 95.0), (-120.0, 90.0)),
    *((1e-42, 1e-40), (-2e-40, 1e-38), (-3e-38, 1.0), (1e-20, 1e-19), (-1e4, 1e4), (1e30, 2e30), (-1e30, 1e30)),
    *((-3e38, -1.0), (1e-38, 3e38)),
)
Truth = Callable[..., mpf]


@dataclass(frozen=True, kw_only=True)
class Hostile:
    """A kind, its parameters, and its exact value from those of its one or two inputs, or from a row of them."""

    kind: kinds.Kind
    truth: Truth
    parameters: Mapping[str, Tensor] = field(default_factory=dict)
    inputs: int = 1
    shape: tuple[int, ...] = (1,)
    constant: str | None = None

    def graph(self) -> Graph:
        """Return the graph of the kind: on one input, on that and a constant, or on the two parts of one."""
        nodes = [Node(name="x", kind=kinds.Input(), shape=(2,) if self.inputs == 2 else self.shape)]
        taken = ("x",)
        if self.constant is not None:
            nodes.append(Node(name="c", kind=kinds.Constant(parameter=self.constant), shape=(1,)))
            taken = ("x", "c")
        if self.inputs == 2:
            for start, name in enumerate(("a", "b")):
                part = kinds.Slice(axis=0, start=start, end=start + 1)
                nodes.append(Node(name=name, kind=part, inputs=("x",), shape=(1,)))
            taken = ("a", "b")
        shapes = {node.name: node.shape for node in nodes}
        value = self.kind.forward(*(torch.zeros(1, *shapes[name]) for name in taken), parameters=self.parameters)
        nodes.append(Node(name="y", kind=self.kind, inputs=taken, shape=tuple(value.shape[1:])))
        return Graph(nodes=tuple(nodes), output="y", parameters=self.parameters)


def _softplus(x: mpf, beta: float, threshold: float) -> mpf:
    return x if x * beta > threshold else mp.log1p(mp.exp(x * beta)) / mpf(beta)


def _elu(x: mpf, alpha: float, scale: float, input_scale: float) -> mpf:
    return x * scale if x > 0 else mpf(scale) * alpha * mp.expm1(x * mpf(input_scale))


def _gelu_tanh(x: mpf) -> mpf:
    return x / 2 * (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (x + mpf(0.044715) * x**3)))


FUNCTIONS: dict[str, Truth] = {
    "negative": lambda x: -x,
    "relu": lambda x: max(x, mpf(0)),
    "leaky_relu": lambda x, slope: x if x > 0 else x * slope,
    "elu": _elu,
    "gelu": lambda x: x / 2 * mp.erfc(-x / mp.sqrt(2)),
    "gelu_tanh": _gelu_tanh,
    "silu": lambda x: x / (1 + mp.exp(-x)),
    "mish": lambda x: x * mp.tanh(mp.log1p(mp.exp(x))),
    "hardswish": lambda x: x * min(max(x + 3, mpf(0)), mpf(6)) / 6,
    "hardsigmoid": lambda x: min(max(x + 3, mpf(0)), mpf(6)) / 6,
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
    "tanh": mp.tanh,
    "softplus": _softplus,
    "abs": abs,
    "clamp": lambda x, low, high: min(max(x, mpf(low)), mpf(high)),
    "square": lambda x: x * x,
    "exp": mp.exp,
    "log": lambda x: mp.log(x) if x > 0 else -mp.inf,
    "sqrt": lambda x: mp.sqrt(x) if x >= 0 else mp.nan,
    "reciprocal": lambda x: 1 / x if x else mp.nan,
    "erf": mp.erf,
    "sin": mp.sin,
    "cos": mp.cos,
}
ARGUMENTS: dict[str, list[tuple[float, ...]]] = {
    "leaky_relu": [(slope,) for slope in HOSTILE],
    "elu": [(alpha, 1.0, 1 / alpha) for alpha in HOSTILE if alpha]
    + [(alpha, 1.0, 1.0) for alpha in HOSTILE]
    + random.Random(0).sample(list(itertools.product(HOSTILE, HOSTILE, HOSTILE)), 40),
    "softplus": [(beta, 20.0) for beta in HOSTILE]
    + [(1.0, 100.0), (-2.0, 1e30), (1.0, math.inf), (1.0, -0.7), (-3.0, -1e30)]
    + random.Random(1).sample(list(itertools.product(HOSTILE, HOSTILE)), 20),
    "clamp": [(0.5, 0.5), (3.0, -0.7), *random.Random(2).sample(list(itertools.product(HOSTILE, HOSTILE)), 30)],
}


def _of_arguments(exact: Truth, arguments: tuple[float, ...], x: mpf) -> mpf:
    return exact(x, *arguments)


def _drawn(function: str) -> Iterator[tuple[Hostile, str | None]]:
    """Yield a function with each of its arguments, and why it is refused."""
    for arguments in ARGUMENTS.get(function, [()]):
        kind = kinds.Elementwise(function=function, arguments=arguments)
        exact = FUNCTIONS[function]
        yield (
            Hostile(kind=kind, truth=partial(_of_arguments, exact, arguments)),
            kinds.refused_arguments(function, arguments),
        )


def _points(low: float, high: float) -> list[float]:
    """Return float32 numbers of an interval: its ends, 0 and what is near it, and numbers between."""
    share = [low + (high - low) * part for part in (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)]
    inside = [*share, 0.0, 1e-42, -1e-42, 2.0**-126, 88.0, 88.8, 20.0, 1.7]
    found = torch.tensor(inside, dtype=torch.float32).double().tolist()
    return sorted({point for point in found if low <= point <= high})


def _domain(intervals: list[tuple[float, ...]], shape: tuple[int, ...]) -> Domain:
    """Return intervals as examples of a shape, two ends for each of its entries in turn."""
    ends = torch.tensor(intervals, dtype=torch.float32).double().view(len(intervals), -1, 2)
    low, high = (ends[..., side].expand(-1, math.prod(shape)).reshape(-1, *shape) for side in (0, 1))
    return Domain(box=Box(low, high), centre=0.5 * (low + high), norm="linf", radius=0.0)


def violations(case: Hostile, intervals: list[tuple[float, ...]]) -> Iterator[str]:
    """Yield what does not hold of a kind on intervals: its box, its rows or its lines, as real or as deployed."""
    graph, n = case.graph(), len(intervals)
    shape, domain = graph.input.shape, _domain(intervals, graph.input.shape)
    rows = torch.tensor([[1.0], [-1.0]], dtype=torch.float64).expand(n, 2, 1).reshape(n, 2, *graph["y"].shape)
    claims, lines = {}, None
    for arithmetic in (REAL, FLOAT32):
        bounds = propagate(graph, domain, arithmetic)
        found = sweep(bounds, "y", Coefficients(rows))
        ends = [*(end.flatten().tolist() for end in bounds.boxes["y"]), *found.T.tolist()]
        claims[arithmetic.name] = [(low, high, least, -most) for low, high, least, most in zip(*ends, strict=True)]
        lines = None if bounds.form(graph["y"]) is not None else bounds.relaxation(graph["y"])
    for number, interval in enumerate(intervals):
        sides = [_points(*interval[i : i + 2]) for i in range(0, len(interval), 2)]
        points = list(itertools.product(*sides))
        x = torch.tensor(points, dtype=torch.float64)
        x = x if case.inputs == 2 else x.view(-1, *(1,) * len(shape)).expand(-1, *shape)
        truths = [case.truth(*map(mpf, point)) for point in points]
        yield from _outside("real", interval, points, truths, claims["real"][number])
        for computed in _kernel(graph, x):
            yield from _outside("float32", interval, points, computed, claims["float32"][number])
        if isinstance(lines, LinearRelaxation):
            below, above = (
                (mpf(slope.flatten(1)[number, 0].item()), mpf(shift.flatten(1)[number, 0].item()))
                for slope, shift in ((lines.lower_slope, lines.lower), (lines.upper_slope, lines.upper))
            )
            for point, value in zip(points, truths, strict=True):
                under, over = (slope * mpf(point[0]) + shift for slope, shift in (below, above))
                if not mp.isnan(value) and (under > value or over < value):
                    yield f"lines {interval}: {point} -> {value} not in [{under}, {over}]"


def _kernel(graph: Graph, points: Tensor) -> Iterator[list[float]]:
    """Yield what float32 computes, with subnormal numbers and without."""
    for flush in (False, True):
        torch.set_flush_denormal(flush)
        try:
            computed = graph(points.float())
        finally:
            torch.set_flush_denormal(False)
        yield computed.double().flatten().tolist()


def _outside(name: str, interval, points, values, claim: tuple[float, float, float, float]) -> Iterator[str]:
    """Yield the values that a box or the bounds of rows leave out; NaN is in neither, unless nothing is claimed."""
    low, high, least, most = claim
    for point, value in zip(points, values, strict=True):
        if name == "real" and not mp.isfinite(value):
            continue
        if value != value:
            if not (low == least == -math.inf and high == most == math.inf):
                yield f"{name} {interval}: {point} -> NaN, claimed {claim}"
        elif not (low <= value <= high and least <= value <= most):
            yield f"{name} {interval}: {point} -> {value}, claimed {claim}"


@pytest.fixture(autouse=True)
def _precision() -> Iterator[None]:
    with mp.workprec(200):
        yield


@pytest.mark.parametrize("function", kinds.FUNCTIONS)
def test_functions_with_hostile_arguments_are_bounded_or_refused(function: str) -> None:
    proved = 0
    for case, why in _drawn(function):
        if why is not None:
            with pytest.raises(UnsupportedOperation, match=function):
                propagate(case.graph(), _domain([(0.0, 1.0)], (1,)), REAL)
            continue
        proved += 1
        wrong = next(violations(case, list(INTERVALS)), None)
        assert wrong is None, f"{case.kind}: {wrong}"
    assert proved


def _float32(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float32)


def _stored(value: float) -> mpf:
    """Return a number as float32 stores it."""
    return mpf(_float32(value).item())


def _batch_norm(x: mpf, weight: float, mean: float, variance: float, eps: float) -> mpf:
    total = _stored(variance) + mpf(eps)
    return (x - _stored(mean)) / mp.sqrt(total) * _stored(weight) + mpf(0.25) if total > 0 else mp.nan


def _with_parameters() -> Iterator[Hostile]:
    """Yield kinds with one hostile parameter after the other."""
    for value in HOSTILE:
        one = {"p": _float32(value)}
        yield Hostile(
            kind=kinds.PReLU(slope="p"),
            truth=lambda x, value=value: x if x > 0 else x * _stored(value),
            parameters=one,
        )
        yield Hostile(
            kind=kinds.Linear(weight="p"),
            truth=lambda x, value=value: 3 * x * _stored(value),
            parameters={"p": _float32(value).view(1, 1).expand(1, 3).clone()},
            shape=(3,),
        )
        for operation, truth in OPERATIONS.items():
            yield Hostile(
                kind=operation(),
                truth=lambda x, value=value, truth=truth: truth(x, _stored(value)),
                parameters=one,
                constant="p",
            )
        for weight, mean, variance, eps in (
            *((value, 0.5, 2.0, 1e-5), (1.0, value, 2.0, 1e-5), (1.0, 0.5, abs(value), 1e-5)),
            *((0.7, -1.0, 0.0, abs(value)), (value, 0.5, 0.0, 1e-12), (1e-30, 0.5, 1e-28, 0.0)),
        ):
            given = {"w": weight, "m": mean, "v": variance, "b": 0.25}
            yield Hostile(
                kind=kinds.BatchNorm(mean="m", variance="v", weight="w", bias="b", eps=eps),
                truth=partial(_batch_norm, weight=weight, mean=mean, variance=variance, eps=eps),
                parameters={name: _float32(number) for name, number in given.items()},
            )
    yield Hostile(kind=kinds.Mean(axes=(0,)), truth=lambda x: x, shape=(5,))
    yield Hostile(kind=kinds.Sum(axes=(0,)), truth=lambda x: 4 * x, shape=(4,))
    yield Hostile(kind=kinds.AdaptiveAveragePool(size=(1,)), truth=lambda x: x, shape=(1, 4))
    pool = kinds.AveragePool(kernel=(4,), stride=(4,), padding=(0,))
    yield Hostile(kind=pool, truth=lambda x: x, shape=(1, 4))
    square = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0)}
    yield Hostile(kind=kinds.AveragePool(**square, divisor=9), truth=lambda x: 4 * x / 9, shape=(1, 2, 2))


OPERATIONS: dict[type[kinds.Kind], Truth] = {
    kinds.Multiply: lambda a, b: a * b,
    kinds.Divide: lambda a, b: a / b if b else mp.nan,
    kinds.Add: lambda a, b: a + b,
    kinds.Subtract: lambda a, b: a - b,
    kinds.Maximum: max,
    kinds.Minimum: min,
}


def test_kinds_with_hostile_parameters_are_bounded() -> None:
    for case in _with_parameters():
        if case.constant is not None and not bool(case.parameters[case.constant].isfinite().all()):
            with pytest.raises(UnsupportedOperation, match="not finite"):
                propagate(case.graph(), _domain([(0.0, 1.0)], (1,)), REAL)
            continue
        wrong = next(violations(case, list(INTERVALS[::2])), None)
        assert wrong is None, f"{case.kind} {case.parameters}: {wrong}"


def test_kinds_of_two_hostile_inputs_are_bounded() -> None:
    draws = random.Random(3).sample([(*a, *b) for a in INTERVALS for b in INTERVALS], 30)
    for operation, truth in OPERATIONS.items():
        wrong = next(violations(Hostile(kind=operation(), truth=truth, inputs=2), draws), None)
        assert wrong is None, f"{operation}: {wrong}"


def test_a_negative_divisor_of_a_pool_is_refused() -> None:
    pool = kinds.AveragePool(kernel=(2, 2), stride=(2, 2), padding=(0, 0), divisor=-4)
    graph = Hostile(kind=pool, truth=abs, shape=(1, 2, 2)).graph()
    with pytest.raises(UnsupportedOperation, match="divisor -4"):
        propagate(graph, _domain([(0.0, 1.0)], (1, 2, 2)), REAL)
