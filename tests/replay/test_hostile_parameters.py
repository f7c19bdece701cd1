"""Parameters of every kind from a hostile set: what is derived holds, in the reals and for float32 kernels."""

import dataclasses
import math
import random

import pytest
import torch
from torch import Tensor

from epsball.ball import Ball
from epsball.graph import Graph, Node, kinds
from epsball.graph.kinds import FUNCTIONS, KINDS
from epsball_replay import ReplayError, Verdict, replay
from epsball_replay.kinds import ATTRIBUTES, fault
from epsball_replay.kinds import FUNCTIONS as KNOWN
from replay.networks import certificate

pytest.importorskip("flint", reason="the checker needs the extra replay")

ORDINARY = (0.0, 1.0, 0.1, 0.5, 3.0)
HOSTILE = (1e-20, 1e-30, 9e-39, 1e-42, 3e20, 1e30, 1e32, 1e37, 3e38)
RADII = ("0", "1/1000", "1", "1/1" + 43 * "0", "1/1" + 38 * "0", "1" + 10 * "0", "1" + 31 * "0")


class Chain:
    """A chain of nodes on four entries under construction, with numbers of either sign from the hostile set."""

    def __init__(self, seed: int) -> None:
        self.chooser = random.Random(seed)
        self.nodes = [Node(name="x", kind=kinds.Input(), shape=(4,))]
        self.parameters: dict[str, Tensor] = {}

    def number(self) -> float:
        numbers = self.chooser.choices((ORDINARY, HOSTILE), weights=(3, 1))[0]
        return self.chooser.choice((-1, 1)) * self.chooser.choice(numbers)

    def tensor(self, *shape: int) -> str:
        name = f"p{len(self.parameters)}"
        numbers = [self.number() for _ in range(math.prod(shape))]
        self.parameters[name] = torch.tensor(numbers, dtype=torch.float64).float().view(shape)
        return name

    def add(self, kind: kinds.Kind, *shape: int, inputs: tuple[str, ...] = ()) -> str:
        given = inputs or (self.nodes[-1].name,)
        self.nodes.append(Node(name=f"n{len(self.nodes)}", kind=kind, inputs=given, shape=shape or (4,)))
        return self.nodes[-1].name

    def with_constant(self, kind: kinds.Kind) -> None:
        before, constant = self.nodes[-1].name, kinds.Constant(parameter=self.tensor(4))
        self.nodes.append(Node(name=f"c{len(self.nodes)}", kind=constant, shape=(4,)))
        self.add(kind, inputs=(before, self.nodes[-1].name))

    def windows(self, kind: kinds.Kind) -> None:
        self.add(kinds.Reshape(shape=(1, 4)), 1, 4)
        self.add(kind, 1, 4)
        self.add(kinds.Reshape(shape=(4,)))

    def reduced(self, kind: kinds.Kind) -> None:
        self.add(kinds.Reshape(shape=(2, 2)), 2, 2)
        self.add(kind, 2, 1)
        self.add(kinds.Expand(shape=(2, 2)), 2, 2)
        self.add(kinds.Reshape(shape=(4,)))

    def padded(self) -> None:
        self.add(kinds.Slice(axis=0, start=0, end=3), 3)
        self.add(kinds.Pad(widths=(0, 1), value=self.number()))

    def normalised(self) -> None:
        mean, variance, weight, bias = (self.tensor(4) for _ in range(4))
        self.parameters[variance].abs_()
        self.add(kinds.BatchNorm(mean=mean, variance=variance, weight=weight, bias=bias, eps=abs(self.number())))

    def graph(self) -> Graph:
        return Graph(nodes=tuple(self.nodes), output=self.nodes[-1].name, parameters=self.parameters)


STEPS = {
    "leaky": lambda chain: chain.add(kinds.Elementwise(function="leaky_relu", arguments=(chain.number(),))),
    "clamp": lambda chain: chain.add(kinds.Elementwise(function="clamp", arguments=(chain.number(), chain.number()))),
    **{
        name: lambda chain, name=name: chain.add(kinds.Elementwise(function=name))
        for name in ("relu", "abs", "negative", "tanh", "sigmoid")
    },
    "prelu": lambda chain: chain.add(kinds.PReLU(slope=chain.tensor(4))),
    "batch norm": Chain.normalised,
    "linear": lambda chain: chain.add(kinds.Linear(weight=chain.tensor(4, 4), bias=chain.tensor(4))),
    "convolution": lambda chain: chain.windows(
        kinds.Convolution(weight=chain.tensor(1, 1, 3), dilation=(1,), stride=(1,), padding=(1,))
    ),
    "product": lambda chain: chain.with_constant(kinds.Multiply()),
    "quotient": lambda chain: chain.with_constant(kinds.Divide()),
    "sum with": lambda chain: chain.with_constant(kinds.Add()),
    "difference": lambda chain: chain.with_constant(kinds.Subtract()),
    "max pool": lambda chain: chain.windows(kinds.MaxPool(kernel=(3,), dilation=(1,), stride=(1,), padding=(1,))),
    "average pool": lambda chain: chain.windows(kinds.AveragePool(kernel=(3,), stride=(1,), padding=(1,))),
    "mean": lambda chain: chain.reduced(kinds.Mean(axes=(1,))),
    "sum": lambda chain: chain.reduced(kinds.Sum(axes=(1,))),
    "pad": Chain.padded,
}


def verdict_of(folder, chain: Chain, x: Tensor, ball: Ball, semantics: str) -> Verdict | None:
    for old in folder.iterdir():
        old.unlink()
    slopes = {
        node.name: (torch.tensor([chain.number() for _ in range(4)]).double(), torch.rand(4))
        for node in chain.nodes
        if isinstance(node.kind, kinds.Elementwise) and chain.chooser.random() < 0.5
    }
    try:
        return replay(certificate(folder, chain.graph(), x, ball, semantics=semantics, claim=-1e300, slopes=slopes))
    except ReplayError:
        return None


def points_of(x: Tensor, radius: float) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    steps = torch.rand(48, 4, generator=generator, dtype=torch.float64) * 2 - 1
    return x.double() + radius * torch.cat([steps, steps.sign(), torch.zeros(1, 4)])


def deployed_margins(graph: Graph, x: Tensor, radius: float, predicted: int) -> Tensor:
    """Return the least margins of float32 points of the ball, subnormals kept and subnormals flushed to zero."""
    points = points_of(x, radius).float()
    inside = ((points.double() - x.double()).abs() <= radius).all(dim=1)
    logits = []
    for flushed in (False, True):
        torch.set_flush_denormal(flushed)
        try:
            logits.append(graph(points[inside]))
        finally:
            torch.set_flush_denormal(False)
    logits = torch.cat(logits).double()
    margins = logits[:, predicted, None] - logits
    return margins.nan_to_num(nan=-math.inf).amin(dim=0)


def real_margins(graph: Graph, x: Tensor, radius: float, predicted: int) -> Tensor:
    """Return the least margins of points of the ball in float64, with room for its rounding."""
    wide = {name: tensor.double() for name, tensor in graph.parameters.items()}
    logits = Graph(nodes=graph.nodes, output=graph.output, parameters=wide)(points_of(x, radius))
    room = 1e-12 * logits.abs().amax(dim=1, keepdim=True) + 1e-300
    return (logits[:, predicted, None] - logits + room).amin(dim=0)


@pytest.mark.parametrize("semantics", ["real", "float32"])
@pytest.mark.parametrize("step", STEPS)
def test_what_is_derived_holds_at_every_point(step, semantics, tmp_path):
    margins, derived = {"real": real_margins, "float32": deployed_margins}[semantics], 0
    for seed in range(12):
        chain = Chain(seed)
        STEPS[step](chain)
        # A second step multiplies what the first one flushed or rounded.
        STEPS[chain.chooser.choice([*STEPS])](chain)
        x = torch.tensor([chain.number() for _ in range(4)])
        ball = Ball("linf", chain.chooser.choice(RADII), low=None, high=None)
        verdict = verdict_of(tmp_path, chain, x, ball, semantics)
        if verdict is None:
            continue
        derived += 1
        truth = margins(chain.graph(), x, float(ball.radius), verdict.predicted)
        for j, bound in verdict.derived.items():
            assert bound <= float(truth[j]), (seed, [node.kind for node in chain.nodes])
    assert derived > 0


def test_the_kinds_it_reads_have_the_attributes_that_are_written():
    for name, rules in ATTRIBUTES.items():
        assert set(rules) == {field.name for field in dataclasses.fields(KINDS[name])}, name  # pyright: ignore[reportArgumentType]
    assert set(KNOWN) <= set(FUNCTIONS)


VALID = {
    "Convolution": kinds.Convolution(weight="w", stride=(1, 2), padding=(0, 1), dilation=(1, 1)),
    "BatchNorm": kinds.BatchNorm(mean="m", variance="v", eps=1e-5),
    "AveragePool": kinds.AveragePool(kernel=(2,), stride=(2,), padding=(0,)),
    "MaxPool": kinds.MaxPool(kernel=(2,), stride=(2,), padding=(0,), dilation=(1,)),
    "Pad": kinds.Pad(widths=(1, 0)),
    "Slice": kinds.Slice(axis=0, start=1, end=3),
    "Elementwise": kinds.Elementwise(function="clamp", arguments=(0.0, math.inf)),
    "Linear": kinds.Linear(weight="w"),
    "Gather": kinds.Gather(axis=0, index=(1, 0)),
    "Concatenate": kinds.Concatenate(axis=0),
}


@pytest.mark.parametrize("kind", VALID)
def test_every_attribute_is_required_and_none_is_unknown(kind):
    written = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in dataclasses.asdict(VALID[kind]).items()  # pyright: ignore[reportArgumentType]
    }
    assert fault(kind, written, ["x"]) is None
    for key in written:
        assert fault(kind, {name: value for name, value in written.items() if name != key}, ["x"])
        assert fault(kind, {**written, key: object()}, ["x"])
    assert fault(kind, {**written, "other": 1}, ["x"])


def test_a_mode_of_padding_that_is_not_known_is_refused():
    pad = {"widths": [1, 1], "mode": "reflect", "value": 0.0}
    assert fault("Pad", pad, ["x"]) is None
    assert fault("Pad", {**pad, "mode": "symmetric"}, ["x"])
    assert fault("Pad", {**pad, "widths": [1]}, ["x"])


IMPOSSIBLE = {
    "windows of padding alone": (
        kinds.MaxPool(kernel=(2,), stride=(1,), padding=(1,), dilation=(3,)),
        ((2, 2), (2, 1)),
        "padding alone",
    ),
    "channels pooled together": (
        kinds.MaxPool(kernel=(2,), stride=(2,), padding=(0,), dilation=(1,)),
        ((4, 2), (2, 1)),
        "has the shape",
    ),
    "averages of channels": (
        kinds.AveragePool(kernel=(2,), stride=(2,), padding=(0,)),
        ((4, 2), (2, 1)),
        "has the shape",
    ),
    "adaptive ones of channels": (kinds.AdaptiveAveragePool(size=(1,)), ((4, 2), (2, 1)), "has the shape"),
    "an average that counts what sticks out": (
        kinds.AveragePool(kernel=(2,), stride=(2,), padding=(1,), ceil_mode=True),
        ((1, 3), (1, 2)),
        "counts padding",
    ),
    "a divisor along one axis": (
        kinds.AveragePool(kernel=(2,), stride=(2,), padding=(0,), divisor=1),
        ((1, 4), (1, 2)),
        "divisor",
    ),
    "a mean without axes": (kinds.Mean(axes=()), ((2, 1), (2, 1)), "over axes"),
    "a mean that drops its axis": (kinds.Mean(axes=(0,)), ((2, 2), (2,)), "has the shape"),
    "an expansion to another rank": (kinds.Expand(shape=(1, 2)), ((2,), (1, 2)), "another rank"),
    "a reflection wider than its axis": (kinds.Pad(widths=(2, 2), mode="reflect"), ((1, 2), (1, 6)), "pads"),
    "an endless border": (kinds.Pad(widths=(0, 1), value=math.inf), ((2,), (3,)), "has inf as its value"),
}


@pytest.mark.parametrize("semantics", ["real", "float32"])
@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_is_no_network_of_the_library_is_refused_by_name(name, semantics, tmp_path):
    kind, (before, after), reason = IMPOSSIBLE[name]
    flat = (math.prod(after),)
    nodes = (
        Node(name="x", kind=kinds.Input(), shape=before),
        Node(name="n", kind=kind, inputs=("x",), shape=after),
        Node(name="f", kind=kinds.Reshape(shape=flat), inputs=("n",), shape=flat),
    )
    graph = Graph(nodes=nodes, output="f", parameters={})
    first = torch.eye(flat[0])[0]
    path = certificate(tmp_path, graph, torch.rand(before), Ball("linf", "1/100"), semantics=semantics, logits=first)
    with pytest.raises(ReplayError, match=reason):
        replay(path)


def test_constants_are_those_of_the_deployed_network(tmp_path):
    near, x, ball = 0.1 + 1e-10, torch.tensor([-5.0]), Ball("linf", 1, low=-10.0, high=0.0)
    pads = [kinds.Pad(widths=(0, 1), value=value) for value in (0.1, near)]
    nodes = (
        Node(name="x", kind=kinds.Input(), shape=(1,)),
        Node(name="a", kind=pads[0], inputs=("x",), shape=(2,)),
        Node(name="b", kind=pads[1], inputs=("a",), shape=(3,)),
    )
    graph = Graph(nodes=nodes, output="b", parameters={})
    assert graph(x[None])[0, 1] == graph(x[None])[0, 2], "one number of float32"
    deployed = replay(certificate(tmp_path, graph, x, ball, claim=5e-12))
    assert not deployed.accepted
    assert max(deployed.derived[j] for j in deployed.derived if j != 0) <= 0
    real = replay(certificate(tmp_path, graph, x, ball, semantics="real"))
    assert real.derived[2] == pytest.approx(-1e-10, rel=1e-5)


def chain_of(kind: kinds.Kind, **parameters: Tensor) -> Graph:
    """Return a network of two entries and one node, whose other inputs are constants."""
    constants = tuple(Node(name=key, kind=kinds.Constant(parameter=key), shape=(2,)) for key in parameters)
    taken = ("x", *parameters) if isinstance(kind, kinds.Divide) else ("x",)
    nodes = (Node(name="x", kind=kinds.Input(), shape=(2,)), Node(name="y", kind=kind, inputs=taken, shape=(2,)))
    nodes = (nodes[0], *constants, nodes[1]) if isinstance(kind, kinds.Divide) else nodes
    return Graph(nodes=nodes, output="y", parameters=parameters)


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).float()


def clamped(*lows: float) -> Graph:
    """Return a network of one entry clamped from below, once for each class."""
    ends = [
        Node(name=f"y{low}", kind=kinds.Elementwise(function="clamp", arguments=(low, 9.0)), inputs=("x",), shape=(1,))
        for low in lows
    ]
    joined = Node(
        name="y", kind=kinds.Concatenate(axis=0), inputs=tuple(node.name for node in ends), shape=(len(ends),)
    )
    return Graph(nodes=(Node(name="x", kind=kinds.Input(), shape=(1,)), *ends, joined), output="y", parameters={})


DEPLOYED_OTHERWISE = {
    "a slope times what is flushed": (chain_of(kinds.PReLU(slope="a"), a=numbers(1e32, 1)), numbers(-9e-39, -1e-8), 1),
    "a slope beyond float32": (
        chain_of(kinds.Elementwise(function="leaky_relu", arguments=(1e39,))),
        numbers(-1e-38, -2e-38),
        0,
    ),
    "a divisor that is flushed": (chain_of(kinds.Divide(), c=numbers(1e-40, 1)), numbers(-1e-30, -1e11), 0),
    "what is flushed and only chosen": (chain_of(kinds.Elementwise(function="relu")), numbers(9e-39, 5e-39), 0),
    "ends of clamps that are one in float32": (clamped(0.1, 0.1 + 1e-10), numbers(-1), 1),
}


@pytest.mark.parametrize("name", DEPLOYED_OTHERWISE)
def test_what_the_deployed_network_rounds_away_is_proved_for_the_reals_alone(name, tmp_path):
    graph, x, predicted = DEPLOYED_OTHERWISE[name]
    first, ball = torch.eye(2)[predicted], Ball("linf", 0, low=None, high=None)
    for semantics in ("real", "float32"):
        path = certificate(tmp_path, graph, x, ball, semantics=semantics, claim=1e-39, logits=first)
        try:
            stable = replay(path).stable
        except ReplayError:
            stable = False
        assert stable == (semantics == "real")
