"""Classes masked by a logit of -infinity at every input: they never win, so certificates are about the others.

A constant that holds -infinity is added to the logits, as a bias too, or moved among them. `without_masked_classes`
finds these classes and returns the network without them, in which an affine layer has no rows for them: its
certificates are those of a network that never had these classes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from epsball.errors import ModelError
from epsball.graph import Graph, Node
from epsball.graph.kinds import (
    Add,
    Concatenate,
    Constant,
    Divide,
    Elementwise,
    Expand,
    Gather,
    Linear,
    LogSoftmax,
    Maximum,
    Minimum,
    Multiply,
    Pad,
    Permute,
    PReLU,
    Reshape,
    Slice,
    Softmax,
    Subtract,
)

_MOVES = (Reshape, Permute, Expand, Slice, Gather, Concatenate)
_PAIRS = (Add, Subtract, Multiply, Divide, Maximum, Minimum)


@dataclass(frozen=True, kw_only=True, eq=False)
class FiniteClasses:
    """A network whose masked classes are left out.

    Parameters
    ----------
    graph
        The network of the other logits, in order.
    classes, masked
        The numbers of the classes that are left, and of those that are masked.
    beside
        What -infinity is added to, or None: a sum is -infinity only where this is finite.
    """

    graph: Graph
    classes: tuple[int, ...]
    masked: tuple[int, ...]
    beside: Graph | None


def without_masked_classes(graph: Graph) -> FiniteClasses | None:
    """Return the network without the classes whose logits are -infinity at every input, or None if there are none.

    Raises
    ------
    ModelError
        If fewer than two classes are left.

    Examples
    --------
    >>> import torch
    >>> from epsball.graph import capture
    >>> class Masked(torch.nn.Linear):
    ...     def forward(self, x):
    ...         return super().forward(x) + torch.tensor([0.0, -torch.inf, 0.0])
    >>> without_masked_classes(capture(Masked(2, 3), (2,))).classes
    (0, 2)
    """
    infinite = _always_infinite(graph)
    masked = infinite.get(graph.output)
    if masked is None:
        return None
    classes = tuple(torch.nonzero(~masked).flatten().tolist())
    if len(classes) < 2:
        raise ModelError(
            f"{graph.source} has {len(classes)} logits that are not -infinity at every input; a margin needs two."
        )
    selection = _Selection(graph=graph, infinite=infinite)
    output = selection.of(graph.output, classes)
    return FiniteClasses(
        graph=selection.ending_in(output),
        classes=classes,
        masked=tuple(torch.nonzero(masked).flatten().tolist()),
        beside=selection.beside(),
    )


def _always_infinite(graph: Graph) -> dict[str, Tensor]:
    """Return for each node that has any the entries that are -infinity at every input, of its shape."""
    found: dict[str, Tensor] = {}
    for node in graph.nodes:
        entries = _infinite_entries(node, graph, found)
        if entries is not None and bool(entries.any()):
            found[node.name] = entries
    return found


def _infinite_entries(node: Node, graph: Graph, found: dict[str, Tensor]) -> Tensor | None:
    kind = node.kind
    value = _constant(graph, node.name)
    if value is not None:
        return value == -math.inf
    given = [found.get(name, torch.zeros(graph[name].shape, dtype=torch.bool)) for name in node.inputs]
    if isinstance(kind, Pad) and kind.mode == "constant":
        border = 1.0 if kind.value == -math.inf else 0.0
        return _moved(replace(kind, value=border), given)
    if isinstance(kind, _PAIRS):
        return _infinite_pair(node, graph, given)
    if isinstance(kind, Linear):
        return _infinite_bias(node, graph)
    if isinstance(kind, Elementwise) and kind.function == "log":
        return _log_of_zero(node, graph, found)
    if not found.keys() & set(node.inputs):
        return None
    if isinstance(kind, _MOVES):
        return _moved(kind, given)
    if isinstance(kind, Elementwise) and kind.function == "clamp" and kind.arguments[0] == -math.inf:
        return given[0]
    if isinstance(kind, LogSoftmax):
        return _unless_all(given[0], kind.axis)
    return None


def _infinite_bias(node: Node, graph: Graph) -> Tensor | None:
    """Return where the bias of a layer of vectors is -infinity."""
    kind: Any = node.kind
    if kind.bias is None or len(node.shape) != 1 or node.inputs[0] in graph.constant:
        return None
    return graph.parameters[kind.bias].cpu() == -math.inf


def _log_of_zero(node: Node, graph: Graph, found: dict[str, Tensor]) -> Tensor | None:
    """Return where a logarithm is of a softmax's 0: of an entry of -infinity."""
    source = graph[node.inputs[0]]
    if not isinstance(source.kind, Softmax) or source.inputs[0] not in found:
        return None
    return _unless_all(found[source.inputs[0]], source.kind.axis)


def _unless_all(entries: Tensor, axis: int) -> Tensor:
    return entries & ~entries.all(dim=axis, keepdim=True)


def _moved(kind, given: Sequence[Tensor]) -> Tensor:
    return kind.forward(*(entries.float().unsqueeze(0) for entries in given), parameters={})[0] > 0


def _infinite_pair(node: Node, graph: Graph, given: Sequence[Tensor]) -> Tensor | None:
    """Return where an operation of two values is -infinity, if the other one is finite there, or positive."""
    first, second = given
    others = [_constant(graph, name) for name in node.inputs]
    if isinstance(node.kind, Add):
        bounded = all(value is None or bool((value < math.inf).all()) for value in others)
        return first | second if bounded else None
    if isinstance(node.kind, Minimum):
        return first | second
    if isinstance(node.kind, Subtract):
        signed = (others[0], None if others[1] is None else -others[1])
        bounded = all(value is None or bool((value < math.inf).all()) for value in signed)
        subtracted = torch.zeros_like(first) if others[1] is None else others[1] == math.inf
        return (first & ~second) | subtracted if bounded else None
    factors = ((first, others[1]), (second, others[0])) if isinstance(node.kind, Multiply) else ((first, others[1]),)
    for entries, factor in factors if isinstance(node.kind, Multiply | Divide) else ():
        if factor is not None:
            return entries & (factor > 0) & factor.isfinite()
    return None


def _constant(graph: Graph, name: str) -> Tensor | None:
    """Return the value of a node that does not depend on the input, or None."""
    if name not in graph.constant:
        return None
    node = graph[name]
    given = [_constant(graph, source) for source in node.inputs]
    return node.kind.forward(
        *(value.unsqueeze(0) for value in given if value is not None), parameters=graph.parameters
    )[0]


@dataclass(kw_only=True)
class _Selection:
    """A graph under construction that computes some entries of another's vectors.

    Parameters
    ----------
    graph, infinite
        The network, and the entries of its nodes that are -infinity at every input.
    """

    graph: Graph
    infinite: dict[str, Tensor]
    nodes: dict[str, Node] = field(init=False)
    parameters: dict[str, Tensor] = field(init=False)
    summed: dict[str, tuple[int, ...]] = field(default_factory=dict)
    products: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.nodes = {node.name: node for node in self.graph.nodes}
        self.parameters = dict(self.graph.parameters)

    def of(self, name: str, entries: tuple[int, ...]) -> str:
        """Return a node with these entries of a node, in this order."""
        name, entries = self._traced(name, entries)
        node = self.graph[name]
        if len(node.shape) == 1 and entries == tuple(range(node.shape[0])):
            return name
        select = self._rule(node)
        selected = None if select is None else select(node, entries)
        return self._add(node, Gather(axis=0, index=entries), (name,), entries) if selected is None else selected

    def _traced(self, name: str, entries: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
        """Return the node that entries are copied from, all of them, and their places in it."""
        origins = [self._origin(name, entry) for entry in entries]
        sources = {source for source, _ in origins}
        return (sources.pop(), tuple(place for _, place in origins)) if len(sources) == 1 else (name, entries)

    def _origin(self, name: str, entry: int) -> tuple[str, int]:
        """Return the node and the place in it that an entry of a vector is copied from."""
        node = self.graph[name]
        shapes = [self.graph[source].shape for source in node.inputs]
        if (
            len(node.shape) != 1
            or any(len(shape) != 1 for shape in shapes)
            or not isinstance(node.kind, (*_MOVES, Pad))
        ):
            return name, entry
        numbers, total = [], 0
        for shape in shapes:
            numbers.append(torch.arange(total, total + shape[0], dtype=torch.float64).unsqueeze(0))
            total += shape[0]
        kind = replace(node.kind, value=-1.0) if isinstance(node.kind, Pad) else node.kind
        place = int(kind.forward(*numbers, parameters={})[0, entry])
        for source, shape in zip(node.inputs, shapes, strict=True):
            if 0 <= place < shape[0]:
                return self._origin(source, place)
            place -= shape[0]
        return name, entry

    def _rule(self, node: Node) -> Callable[[Node, tuple[int, ...]], str | None] | None:
        kind = node.kind
        if len(node.shape) != 1 or any(len(self.graph[name].shape) != 1 for name in node.inputs):
            return None
        if isinstance(kind, _PAIRS):
            return self._pair
        rules = {
            Constant: self._constant,
            Linear: self._linear,
            Elementwise: self._same,
            PReLU: self._prelu,
            LogSoftmax: self._softmax,
            Softmax: self._softmax,
            Concatenate: self._concatenated,
            Expand: self._expanded,
        }
        return rules.get(type(kind))

    def _add(self, node: Node, kind, inputs: tuple[str, ...], entries: tuple[int, ...]) -> str:
        """Append a node in place of another one."""
        name = f"{node.name}[{len(self.nodes)}]"
        self.nodes[name] = replace(node, name=name, kind=kind, inputs=inputs, shape=(len(entries),))
        return name

    def _parameter(self, name: str, entries: tuple[int, ...]) -> str:
        """Store some entries of a parameter's first axis, and return their name."""
        selected = f"{name}[{len(self.parameters)}]"
        self.parameters[selected] = self.parameters[name][list(entries)]
        return selected

    def _constant(self, node: Node, entries: tuple[int, ...]) -> str:
        kind: Any = node.kind
        return self._add(node, Constant(parameter=self._parameter(kind.parameter, entries)), (), entries)

    def _linear(self, node: Node, entries: tuple[int, ...]) -> str:
        kind: Any = node.kind
        lost = torch.nonzero(self.infinite[node.name]).flatten().tolist() if node.name in self.infinite else []
        if lost:
            weight = self._parameter(kind.weight, tuple(lost))
            self.products.append(self._add(node, Linear(weight=weight, bias=None), node.inputs, tuple(lost)))
        bias = None if kind.bias is None else self._parameter(kind.bias, entries)
        return self._add(node, Linear(weight=self._parameter(kind.weight, entries), bias=bias), node.inputs, entries)

    def _same(self, node: Node, entries: tuple[int, ...]) -> str:
        return self._add(node, node.kind, (self.of(node.inputs[0], entries),), entries)

    def _prelu(self, node: Node, entries: tuple[int, ...]) -> str:
        kind: Any = node.kind
        slope = kind.slope if self.parameters[kind.slope].numel() == 1 else self._parameter(kind.slope, entries)
        return self._add(node, PReLU(slope=slope), (self.of(node.inputs[0], entries),), entries)

    def _pair(self, node: Node, entries: tuple[int, ...]) -> str:
        parts = []
        for name in node.inputs:
            parts.append(name if self.graph[name].shape == (1,) != node.shape else self.of(name, entries))
            if self.graph[name].shape == node.shape and name not in self.graph.constant:
                infinite = self.infinite.get(name, torch.zeros(node.shape, dtype=torch.bool))
                self.summed[name] = tuple(i for i in range(node.shape[0]) if i not in entries and not infinite[i])
        # To add 0 is exact.
        for part, other in (tuple(parts), tuple(parts[::-1]))[: 2 if isinstance(node.kind, Add) else 1]:
            if isinstance(node.kind, Add | Subtract) and self._is_zero(other):
                return part
        # Nor does infinity as the other of a minimum change it.
        for part, other in (tuple(parts), tuple(parts[::-1])) if isinstance(node.kind, Minimum) else ():
            value = _constant(self.ending_in(other), other)
            if value is not None and bool((value == math.inf).all()):
                return part
        return self._add(node, node.kind, tuple(parts), entries)

    def _is_zero(self, name: str) -> bool:
        value = _constant(self.ending_in(name), name)
        return value is not None and not bool(value.any())

    def _softmax(self, node: Node, entries: tuple[int, ...]) -> str | None:
        """Leave entries of -infinity out of the sum of exponentials: they are 0 in it."""
        masked = self.infinite.get(node.inputs[0])
        rest = [i for i in range(*node.shape) if i not in entries]
        if masked is None or len(set(entries)) < len(entries) or not bool(masked[rest].all()):
            return None
        return self._same(node, entries)

    def _concatenated(self, node: Node, entries: tuple[int, ...]) -> str | None:
        """Take the entries from each part; they must come in the order of the parts."""
        starts, total = [], 0
        for name in node.inputs:
            starts.append(total)
            total += self.graph[name].shape[0]
        owners = [max(i for i, start in enumerate(starts) if start <= entry) for entry in entries]
        if owners != sorted(owners):
            return None
        parts = []
        for number in sorted(set(owners)):
            own = (entry - starts[number] for entry, owner in zip(entries, owners, strict=True) if owner == number)
            parts.append(self.of(node.inputs[number], tuple(own)))
        return parts[0] if len(parts) == 1 else self._add(node, node.kind, tuple(parts), entries)

    def _expanded(self, node: Node, entries: tuple[int, ...]) -> str | None:
        return self._add(node, Expand(shape=(len(entries),)), node.inputs, entries)

    def beside(self) -> Graph | None:
        """Return the network of what -infinity was added to, as one vector, or None."""
        parts = [*self.products, *(self.of(name, lost) for name, lost in list(self.summed.items()) if lost)]
        if not parts:
            return None
        count = sum(self.nodes[name].shape[0] for name in parts)
        last = self.nodes[parts[0]]
        joined = self._add(last, Concatenate(axis=0), tuple(parts), tuple(range(count)))
        return self.ending_in(joined)

    def ending_in(self, output: str) -> Graph:
        """Return the graph of one node, in the order of computation, without what it does not need."""
        ordered: dict[str, Node] = {}

        def visit(name: str) -> None:
            if name not in ordered:
                for source in self.nodes[name].inputs:
                    visit(source)
                ordered[name] = self.nodes[name]

        visit(self.graph.input.name)
        visit(output)
        named = {value for node in ordered.values() for value in vars(node.kind).values() if isinstance(value, str)}
        parameters = {name: tensor for name, tensor in self.parameters.items() if name in named}
        return replace(self.graph, nodes=tuple(ordered.values()), output=output, parameters=parameters)
