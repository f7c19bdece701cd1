"""What a rule must hold on samples, for every rule and function; the mutants are tried on the same."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from epsball.certificates.arithmetic import BINARY32, BINARY64
from epsball.certificates.box import Box
from epsball.certificates.rules.rule import NodeContext, Rule
from epsball.certificates.rules.table import RULES
from epsball.graph import Graph, Node, kinds

POSITIVE = {"log": (0.2, 3.0), "sqrt": (0.05, 3.0), "reciprocal": (0.3, 3.0)}
ARGUMENTS = {
    "leaky_relu": [(0.1,), (-0.3,), (2.1,)],
    "elu": [(0.7, 1.0, 1.0), (1.67, 1.05, 1.0), (-0.5, 1.0, 1.0)],
    "softplus": [(1.0, 20.0), (2.0, 15.0)],
    "clamp": [(-0.3, 0.6), (0.1, math.inf), (-math.inf, 0.25), (-0.1, 0.7)],
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A kind with the shapes of its inputs, the shape of its value, and where its inputs lie."""

    name: str
    kind: kinds.Kind
    shapes: tuple[tuple[int, ...], ...]
    shape: tuple[int, ...]
    low: float = -4.0
    high: float = 4.0

    def context(self) -> NodeContext:
        sources = tuple(Node(name=f"x{i}", kind=kinds.Input(), shape=shape) for i, shape in enumerate(self.shapes))
        node = Node(name="y", kind=self.kind, inputs=tuple(source.name for source in sources), shape=self.shape)
        parameters = {"slope": torch.tensor([0.3, -0.4, 1.5, 0.0], dtype=torch.float64)}
        return NodeContext(
            node=node, graph=Graph(nodes=(*sources, node), output="y", parameters={}), parameters=parameters
        )


def _functions() -> list[Case]:
    cases = []
    for function in kinds.FUNCTIONS:
        for arguments in ARGUMENTS.get(function, [()]):
            low, high = POSITIVE.get(function, (-4.0, 4.0))
            kind = kinds.Elementwise(function=function, arguments=arguments)
            name = " ".join([function, *map(str, arguments)])
            cases.append(Case(name=name, kind=kind, shapes=((6,),), shape=(6,), low=low, high=high))
    return cases


def _pool(**options: object) -> kinds.MaxPool:
    plain = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0), "dilation": (1, 1)}
    return kinds.MaxPool(**{**plain, **options})  # type: ignore[arg-type]


CASES = [
    *_functions(),
    Case(name="prelu", kind=kinds.PReLU(slope="slope"), shapes=((4, 2),), shape=(4, 2)),
    Case(name="max_pool", kind=_pool(), shapes=((2, 4, 4),), shape=(2, 2, 2)),
    Case(
        name="max_pool overlapping",
        kind=_pool(kernel=(3, 3), padding=(1, 1)),
        shapes=((2, 4, 4),),
        shape=(2, 2, 2),
    ),
    Case(name="max", kind=kinds.Max(axes=(1,)), shapes=((2, 3),), shape=(2, 1)),
    Case(name="maximum", kind=kinds.Maximum(), shapes=((2, 3), (1, 3)), shape=(2, 3)),
    Case(name="minimum", kind=kinds.Minimum(), shapes=((2, 3), (2, 1)), shape=(2, 3)),
    Case(name="multiply", kind=kinds.Multiply(), shapes=((2, 3), (2, 1)), shape=(2, 3)),
    Case(name="divide", kind=kinds.Divide(), shapes=((2, 3), (1, 3)), shape=(2, 3), low=0.3),
    Case(name="compare", kind=kinds.Compare(relation="ge"), shapes=((2, 3), (1, 3)), shape=(2, 3)),
    *(
        Case(name=f"round {direction}", kind=kinds.Round(direction=direction), shapes=((6,),), shape=(6,))
        for direction in ("floor", "ceil", "round")
    ),
    Case(name="select", kind=kinds.Select(), shapes=((2, 3), (2, 1), (2, 3)), shape=(2, 3)),
    Case(name="matmul", kind=kinds.MatMul(), shapes=((2, 3), (3, 2)), shape=(2, 2)),
    Case(name="softmax", kind=kinds.Softmax(axis=1), shapes=((2, 4),), shape=(2, 4)),
    Case(name="log_softmax", kind=kinds.LogSoftmax(axis=1), shapes=((2, 4),), shape=(2, 4)),
]


def violations(case: Case, rule: Rule | None = None) -> Iterator[str]:
    """Yield what a rule (the table's own by default) breaks: "interval", "backward" or "error"."""
    rule = RULES[type(case.kind)] if rule is None else rule
    context = case.context()
    for seed, width in enumerate((0.3, 1.0, 3.0)):
        generator = torch.Generator().manual_seed(seed)
        boxes = [_box(case, shape, width, generator) for shape in case.shapes]
        points = [_points(box, generator) for box in boxes]
        values = _value(context, points)
        box = rule.interval(context, boxes)
        box = box.widened(rule.error(context, boxes, box, BINARY64))
        scale = 1e-12 * (1 + values.abs().amax())
        if bool(
            (values < box.low.repeat_interleave(64, 0) - scale).any()
            | (values > box.high.repeat_interleave(64, 0) + scale).any()
        ):
            yield "interval"
        if _loses(context, rule, boxes, points, values, generator):
            yield "backward"
        rounded = _value(context, [point.float() for point in points]).double()
        exact = _value(context, [point.float().double() for point in points])
        error = rule.error(context, boxes, box, BINARY32)
        error = torch.as_tensor(error, dtype=torch.float64).expand(box.low.shape).repeat_interleave(64, 0)
        if bool(((rounded - exact).abs() > error + 1e-14).any()):
            yield "error"


def _loses(context: NodeContext, rule: Rule, boxes: list[Box], points: list[Tensor], values: Tensor, generator) -> bool:
    """Return whether a row over y falls below its rows over the inputs at some sample."""
    n = len(boxes[0].low)
    signs = torch.tensor([1.0, -1.0], dtype=torch.float64).view(1, 2, *(1,) * (values.ndim - 1))
    basis = torch.eye((context.node.shape and math.prod(context.node.shape)) or 1, dtype=torch.float64)
    single = (basis.unsqueeze(0) * signs.view(2, 1, 1)).flatten(0, 1).view(1, -1, *context.node.shape)
    mixed = torch.randn(n, 6, *context.node.shape, generator=generator, dtype=torch.float64)
    rows = torch.cat([single.expand(n, *single.shape[1:]), mixed], dim=1)
    found = rule.backward(context, rule.relax(context, boxes), rows)
    below = (found.constant - found.error).repeat_interleave(64, 0)
    for part, point in zip(found.rows, points, strict=True):
        below = below + (part.repeat_interleave(64, 0).flatten(2) * point.flatten(1).unsqueeze(1)).sum(2)
    truth = (rows.repeat_interleave(64, 0).flatten(2) * values.flatten(1).unsqueeze(1)).sum(2)
    return bool((below > truth + 1e-10 * (1 + truth.abs())).any())


def _box(case: Case, shape: tuple[int, ...], width: float, generator: torch.Generator) -> Box:
    ends = torch.rand(5, *shape, generator=generator, dtype=torch.float64) * (case.high - case.low) + case.low
    width = min(width, case.high - case.low)
    low = ends.clamp(max=case.high - width)
    return Box(low, low + width * torch.rand(5, *shape, generator=generator, dtype=torch.float64))


def _points(box: Box, generator: torch.Generator) -> Tensor:
    """Return 64 points of each box: its ends, corners and random ones, example by example."""
    share = torch.rand(len(box.low), 64, *box.low.shape[1:], generator=generator, dtype=torch.float64)
    share[:, :24] = share[:, :24].round()
    share[:, 0], share[:, 1], share[:, 2] = 0.0, 1.0, 0.5
    low, high = box.low.unsqueeze(1), box.high.unsqueeze(1)
    return torch.minimum(low + share * (high - low), high).flatten(0, 1)


def _value(context: NodeContext, points: list[Tensor]) -> Tensor:
    parameters = {name: tensor.to(points[0].dtype) for name, tensor in context.parameters.items()}
    return context.node.kind.forward(*points, parameters=parameters)
