"""`Builder`: a graph under construction, node after node."""

from collections import Counter
from collections.abc import Mapping
from itertools import count
from typing import NoReturn

import torch
from torch import Tensor

from epsball.errors import ModelError, UnsupportedOperation
from epsball.graph._graph import Graph, Node
from epsball.graph.kinds import (
    Add,
    BatchNorm,
    Compare,
    Concatenate,
    Constant,
    Expand,
    Gather,
    Input,
    Kind,
    Max,
    Maximum,
    Minimum,
    Multiply,
    Permute,
    Reshape,
    Round,
    Select,
    Slice,
    Subtract,
    Sum,
)
from epsball.graph.shapes import shape_of_kind
from epsball.graph.value import Shape, Value

WAY_OUT = (
    "Certificates cannot follow it: write that part with other operations (docs/graph.md lists them), or use attacks "
    "only."
)
"""What a user can do about an operation without a rule."""


class Builder:
    """Collects nodes and parameters; `finish` returns the graph without unused nodes.

    Parameters
    ----------
    shape
        The shape of one input.
    dtype
        The dtype of the network.
    parameters
        Tensors by name, to which nodes may refer.
    source
        What is captured, for messages.
    device
        The device of the parameters.

    Attributes
    ----------
    operation, origin
        The operation being translated and its place in the source, for messages.
    exact
        The numbers written in the source, in float64, by the names of their parameters.
    fixed
        Names of parameters that the source does not train.
    rewritten
        Operations that became several nodes, see `Graph`.
    way_out
        What a user can do about an operation without a rule, for messages.
    alone
        Whether the source takes one example at a time, so that its tensors have no batch axis: their values have
        ``axis=None``, like constants.
    """

    def __init__(
        self,
        shape: Shape,
        dtype: torch.dtype,
        parameters: Mapping[str, Tensor],
        source: str,
        device: torch.device = torch.device("cpu"),  # noqa: B008 - immutable
    ) -> None:
        self.parameters = dict(parameters)
        self.dtype, self.source, self.device = dtype, source, device
        self.operation = self.origin = ""
        self.exact: dict[str, Tensor] = {}
        self.fixed: set[str] = set()
        self.rewritten: list[str] = []
        self.way_out = WAY_OUT
        self.alone = False
        self.input = Value("input", (1, *shape), 0)
        self._nodes: dict[str, Node] = {"input": Node(name="input", kind=Input(), shape=shape)}
        self._constants: dict[str, Value] = {}
        self._numbers: Counter[str] = Counter()

    def add(self, kind: Kind, *inputs: str) -> str:
        """Append a node and return its name."""
        label = type(kind).__name__.lower()
        self._numbers[label] += 1
        name = f"{label}_{self._numbers[label]}"
        shape = self._shape(kind, inputs)
        self._nodes[name] = Node(name=name, kind=kind, inputs=inputs, shape=shape, origin=self.origin)
        return name

    def _shape(self, kind: Kind, inputs: tuple[str, ...]) -> Shape:
        """Return the shape of one example: by its formula, or by running the kind on meta tensors."""
        known = shape_of_kind(kind, [self._nodes[name].shape for name in inputs], self.parameters)
        if known is not None:
            return known
        meta = {name: tensor.to("meta") for name, tensor in self.parameters.items() if name in vars(kind).values()}
        given = [torch.empty(2, *self._nodes[name].shape, dtype=self.dtype, device="meta") for name in inputs]
        try:
            return tuple(kind.forward(*given, parameters=meta).shape[1:])
        except (RuntimeError, ValueError, IndexError, NotImplementedError) as error:
            self.refuse(f"{type(kind).__name__} does not take these shapes ({error})")

    def parameter(self, name: str) -> Value:
        """Return a parameter as a constant."""
        if name not in self._constants:
            node = self.add(Constant(parameter=name), *())
            self._constants[name] = Value(node, self._nodes[node].shape, None)
        return self._constants[name]

    def number(self, value: int | float | Tensor) -> Value:
        """Return a number or tensor written in the source as a constant."""
        return self.parameter(self.named(torch.as_tensor(value, dtype=torch.float64)))

    def named(self, value: Tensor, stem: str = "constant") -> str:
        """Store a tensor as a new parameter of the graph, and return its name."""
        exact = value.detach().to(self.device, torch.float64)
        for name, known in self.exact.items():
            if name.startswith(stem) and known.shape == exact.shape and torch.equal(known, exact):
                return name
        name = next(name for name in (f"{stem}.{i}" for i in count()) if name not in self.parameters)
        self.exact[name] = exact.clone()
        self.parameters[name] = exact.to(self.dtype)
        return name

    def fold(self, value: Value) -> str:
        """Compute a constant that must be a parameter, such as a weight under a parametrisation, and return its name.

        It is computed once, in the dtype of the network, and named ``derived.N``: live parameters
        do not reach it.
        """
        if value.axis is not None or self._depends(value.node):
            self.refuse("its weight depends on the input")
        exact = {name: self.exact.get(name, tensor.double()) for name, tensor in self.parameters.items()}
        name = self.named(self._constant(value.node, exact).squeeze(0), "derived")
        self.parameters[name] = self._constant(value.node, self.parameters).squeeze(0).clone()
        self.rewrite()
        return name

    def constant(self, value: Value) -> Tensor | None:
        """Return the value of a node that does not depend on the input, in the node's shape, or None."""
        return None if self._depends(value.node) else self._constant(value.node, self.parameters).squeeze(0)

    def _depends(self, name: str) -> bool:
        node = self._nodes[name]
        return isinstance(node.kind, Input) or any(map(self._depends, node.inputs))

    def _constant(self, name: str, parameters: Mapping[str, Tensor]) -> Tensor:
        node = self._nodes[name]
        return node.kind.forward(*(self._constant(given, parameters) for given in node.inputs), parameters=parameters)

    def shape_of(self, node: str) -> Shape:
        """Return the shape of one example's value at a node."""
        return self._nodes[node].shape

    def unshaped(self, name: str) -> str:
        """Return the node that a node reshapes, or the node itself."""
        node = self._nodes[name]
        return node.inputs[0] if isinstance(node.kind, Reshape) else name

    def before(self, value: Value) -> Value:
        """Return what a node of one input takes, whose batch is the first axis of both."""
        (source,) = self._nodes[value.node].inputs
        return Value(source, (1, *self._nodes[source].shape), 0)

    def is_whole(self, name: str) -> bool:
        """Return whether a node's values are whole numbers by its kind."""
        node = self._nodes[name]
        match node.kind:
            case Compare() | Round():
                return True
            case Constant(parameter=parameter):
                numbers = self.exact.get(parameter, self.parameters[parameter])
                return bool((numbers == numbers.round()).all())
            case Select():
                return all(map(self.is_whole, node.inputs[1:]))
            case Reshape() | Permute() | Expand() | Slice() | Gather() | Concatenate():
                return all(map(self.is_whole, node.inputs))
            case Add() | Subtract() | Multiply() | Maximum() | Minimum() | Max() | Sum():
                return all(map(self.is_whole, node.inputs))
        return False

    def kind_of(self, value: Value) -> Kind:
        """Return the kind of the node that holds a value."""
        return self._nodes[value.node].kind

    def rewrite(self) -> None:
        """Record that the operation being translated becomes several nodes."""
        self.rewritten.append(f"{self.operation} ({self.origin})" if self.origin else self.operation)

    def refuse(self, why: str) -> NoReturn:
        """Raise an `UnsupportedOperation` about the operation being translated."""
        raise UnsupportedOperation(f"{self.operation} {self._where()}: {why}. {self.way_out}")

    def refuse_batch(self, why: str) -> NoReturn:
        """Raise a `ModelError` about the operation being translated: it works along the batch."""
        raise ModelError(
            f"{self.operation} {self._where()} {why}: the logits of one example would depend on the batch it is in. "
            "Keep the first axis free and write shapes with x.shape[0] or flatten(1)."
        )

    def _where(self) -> str:
        return f"in {self.origin}" if self.origin else f"of {self.source}"

    def finish(self, output: Value) -> Graph:
        """Return the graph that ends in the logits.

        Raises
        ------
        ModelError
            If the output is not one row of logits per example, or does not depend on the input.
        """
        if output.rank != 2 or output.axis != 0 or not output.dropped:
            raise ModelError(
                f"{self.source} returns {_written(output)} for n inputs; a classifier returns logits (n, classes)."
            )
        needed = {output.node}
        for node in reversed(self._nodes.values()):
            if node.name in needed:
                needed.update(node.inputs)
        if "input" not in needed:
            raise ModelError(f"{self.source} returns the same logits for every input.")
        nodes = tuple(node for node in self._nodes.values() if node.name in needed)
        named = {value for node in nodes for value in vars(node.kind).values() if isinstance(value, str)}
        parameters = {name: tensor for name, tensor in self.parameters.items() if name in named}
        statistics = {name for node in nodes if isinstance(node.kind, BatchNorm) for name in _statistics(node.kind)}
        fixed = statistics | {name for name in parameters if name in self.fixed or name in self.exact}
        return Graph(
            nodes=nodes,
            output=output.node,
            parameters=parameters,
            source=self.source,
            fixed=frozenset(fixed),
            rewritten=tuple(dict.fromkeys(self.rewritten)),
        )


def _statistics(kind: BatchNorm) -> tuple[str, str]:
    return kind.mean, kind.variance


def _written(value: Value) -> str:
    """Return a shape of the source as text, with n for the batch."""
    lengths = [
        "n" if i == value.axis and length == 1 else f"{length}n" if i == value.axis else str(length)
        for i, length in enumerate(value.shape)
    ]
    return f"({', '.join(lengths)})"
