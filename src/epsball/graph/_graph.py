"""`Graph`: a network as a list of nodes."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from epsball.graph.kinds import Constant, Input, Kind, Parameters


@dataclass(frozen=True, kw_only=True)
class Node:
    """One step of a network.

    Parameters
    ----------
    name
        Unique in its graph.
    kind
        What it computes, with its attributes.
    inputs
        Names of the nodes it takes, all before it in the graph.
    shape
        The shape of its value for one example.
    origin
        Its place in the source (module path, file and line), for messages.

    Examples
    --------
    >>> from epsball.graph import kinds
    >>> Node(name="relu", kind=kinds.Elementwise(function="relu"), inputs=("input",), shape=(6,)).shape
    (6,)
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...] = ()
    shape: tuple[int, ...]
    origin: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """A captured network: nodes in order of computation, and their parameters.

    Nodes name their parameters; every interpreter accepts other tensors in their place.

    Parameters
    ----------
    nodes
        In topological order; exactly one of them is the `Input`.
    output
        The name of the node whose value, (n, classes), is the logits.
    parameters
        Tensors by name.
    source
        What was captured, for messages.
    fixed
        Names of the parameters that the source does not train: its buffers, running statistics and numbers in its code.
    rewritten
        Operations of the source that became several nodes: equal in real numbers, but PyTorch's
        kernels for them round differently.
    notes
        What was read otherwise than the source has it, for its user.

    Examples
    --------
    >>> import torch
    >>> from epsball.graph import kinds
    >>> nodes = (
    ...     Node(name="input", kind=kinds.Input(), shape=(2,)),
    ...     Node(name="relu", kind=kinds.Elementwise(function="relu"), inputs=("input",), shape=(2,)),
    ... )
    >>> graph = Graph(nodes=nodes, output="relu", parameters={})
    >>> graph(torch.tensor([[-1.0, 3.0]]))
    tensor([[0., 3.]])
    """

    nodes: tuple[Node, ...]
    output: str
    parameters: Mapping[str, Tensor]
    source: str = ""
    fixed: frozenset[str] = frozenset()
    rewritten: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    _by_name: dict[str, Node] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {node.name: node for node in self.nodes})

    def __getitem__(self, name: str) -> Node:
        return self._by_name[name]

    @cached_property
    def input(self) -> Node:
        """The node of the network's input."""
        return next(node for node in self.nodes if isinstance(node.kind, Input))

    @property
    def classes(self) -> int:
        """Number of logits."""
        return self[self.output].shape[0]

    @cached_property
    def constant(self) -> frozenset[str]:
        """Names of the nodes that do not depend on the input."""
        names: set[str] = set()
        for node in self.nodes:
            if isinstance(node.kind, Constant) or (node.inputs and names.issuperset(node.inputs)):
                names.add(node.name)
        return frozenset(names)

    @cached_property
    def last_use(self) -> dict[str, str]:
        """For each node, the last one that takes it (itself if none does)."""
        uses = {node.name: node.name for node in self.nodes}
        for node in self.nodes:
            uses.update(dict.fromkeys(node.inputs, node.name))
        return uses

    def values(self, x: Tensor, parameters: Parameters | None = None) -> dict[str, Tensor]:
        """Return the value of every node on a batch x, (n, *shape)."""
        values: dict[str, Tensor] = {}
        for node in self.nodes:
            values[node.name] = self._value(node, x, values, parameters)
        return values

    def __call__(self, x: Tensor, parameters: Parameters | None = None) -> Tensor:
        """Return the logits, (n, classes), of a batch x, (n, *shape)."""
        values: dict[str, Tensor] = {}
        for node in self.nodes:
            values[node.name] = self._value(node, x, values, parameters)
            for name in node.inputs:
                if self.last_use[name] == node.name:
                    values.pop(name, None)
        return values[self.output]

    def _value(self, node: Node, x: Tensor, values: Mapping[str, Tensor], parameters: Parameters | None) -> Tensor:
        taken = [x] if isinstance(node.kind, Input) else [values[name] for name in node.inputs]
        return node.kind.forward(*taken, parameters=self.parameters if parameters is None else parameters)

    def fingerprint(self) -> str:
        """Return a hash of the nodes and of the bytes of every parameter, in hexadecimal (SHA-256)."""
        digest = hashlib.sha256()
        for node in self.nodes:
            described = [node.name, type(node.kind).__name__, dataclasses.asdict(node.kind), node.inputs, node.shape]  # pyright: ignore[reportArgumentType]
            digest.update(json.dumps(described, sort_keys=True).encode())
        digest.update(self.output.encode())
        for name in sorted(self.parameters):
            tensor = self.parameters[name].detach().cpu().contiguous()
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()
