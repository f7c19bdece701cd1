"""`LiveNetwork`: a module as a graph that runs with the parameters the module has now."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from epsball.certificates.arithmetic import PLAIN
from epsball.certificates.domain import Domain
from epsball.certificates.live.batch_statistics import batch_norms, seen_statistics
from epsball.certificates.live.check import check_gradients
from epsball.certificates.live.pass_through import CleanPass
from epsball.certificates.masked_classes import without_masked_classes
from epsball.certificates.problem import Problem
from epsball.certificates.verifier import weight_hooks, with_fixed_weights
from epsball.errors import ModelError
from epsball.generator_state import preserved
from epsball.graph import Graph, Node, capture
from epsball.graph.kinds import BatchNorm, Input, Parameters
from epsball.graph.wrappers import bare, unwrapped


@dataclass(frozen=True, kw_only=True, eq=False)
class LiveNetwork:
    """A captured network whose parameters are those of its module, as they are at each call.

    Every method of this package that is given its graph and its parameters, under `PLAIN` arithmetic, bounds the
    module as it is now, in the dtype of the module, with gradients in the module's parameters. A weight under a
    parametrisation is computed anew, and has its gradient.

    Parameters
    ----------
    graph
        The network as captured; its own parameters are copies of an earlier moment.
    owners
        For each parameter of the graph the module that has it; numbers in the module's code have none.
    norms
        The modules of the batch normalisations.
    classes
        The classes whose logits are finite; None for all. The others, masked by -infinity, have no margins.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> from epsball.certificates import Domain, interval
    >>> layer, x, y = torch.nn.Linear(2, 2, bias=False), torch.full((1, 2), 0.5), torch.tensor([0])
    >>> live = LiveNetwork.of(layer, (2,))
    >>> problem = live.problem(Domain.of(eb.Ball("linf", "1/10"), x), y)
    >>> interval(problem, parameters=live.parameters()).rows.sum().backward()
    >>> layer.weight.grad.shape
    torch.Size([2, 2])
    """

    graph: Graph
    owners: Mapping[str, nn.Module]
    norms: Mapping[BatchNorm, nn.Module]
    classes: Int64[Tensor, " finite"] | None

    @classmethod
    def of(cls, module: nn.Module, shape: tuple[int, ...]) -> "LiveNetwork":
        """Capture a module for inputs of a shape, and check that gradients reach all that it trains.

        Raises
        ------
        ModelError
            If the module cannot be captured, the statistics of a batch cannot be seen, or the graph has other gradients
            in the parameters than the module.
        UnsupportedOperation
            If an operation has no rule.
        """
        device = next((tensor.device for tensor in module.parameters()), torch.device("cpu"))
        with preserved(), torch.autocast(device.type, enabled=False):
            graph = capture(with_fixed_weights(module), shape)
        with unwrapped(module) as network:
            found = {name: _owner(network, name) for name in graph.parameters}
        owners = {name: owner for name, owner in found.items() if owner is not None}
        finite = without_masked_classes(graph)
        live = cls(
            graph=graph,
            owners=owners,
            norms=batch_norms(graph, owners),
            classes=None if finite is None else torch.tensor(finite.classes),
        )
        check_gradients(bare(module), live.graph, live.parameters, live.classes)
        return live

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the network."""
        return next((p.dtype for p in self.graph.parameters.values() if p.is_floating_point()), torch.float32)

    @property
    def needs_clean_pass(self) -> bool:
        """Whether bounds need a pass of the batch first: for its statistics, or for weights that a hook computes."""
        return any(norm.training for norm in self.norms.values()) or any(map(weight_hooks, self.owners.values()))

    def parameters(self, statistics: Parameters | None = None) -> Parameters:
        """Return the parameters as they are now, with `statistics` in place of the running ones.

        Constants of -infinity, which mask classes, are 0: bounds are about the other classes.
        """
        now = {name: self.parameter(name) for name in self.graph.parameters}
        if self.classes is not None:
            now = {name: torch.where(value == -math.inf, 0.0, value) for name, value in now.items()}
        return {**now, **(statistics or {})}

    def parameter(self, name: str) -> Tensor:
        """Return one parameter of the graph as it is now: the module's own tensor, or what it computes from its own.

        Raises
        ------
        ModelError
            If its shape has changed.
        """
        captured, owner = self.graph.parameters[name], self.owners.get(name)
        value = captured if owner is None else getattr(owner, name.rpartition(".")[2])
        if value.shape != captured.shape:
            raise ModelError(
                f"'{name}' was {tuple(captured.shape)} and is {tuple(value.shape)}; a network keeps its shapes in "
                "training."
            )
        return value

    def after(self, name: str) -> tuple[Node, ...] | None:
        """Return the nodes that take the network from a node to its logits, or None if others are needed besides it."""
        known, nodes = {name}, []
        for node in self.graph.nodes:
            if node.name != name and not isinstance(node.kind, Input) and known.issuperset(node.inputs):
                known.add(node.name)
                nodes.append(node)
        return tuple(nodes) if self.graph.output in known else None

    def logits_after(self, name: str, value: Tensor, parameters: Parameters) -> Float[Tensor, "n classes"]:
        """Return the logits where a node, behind which the network is one chain, has these values."""
        values = {name: value}
        for node in self.after(name) or ():
            values[node.name] = node.kind.forward(*(values[given] for given in node.inputs), parameters=parameters)
        return values[self.graph.output]

    def logits(self, x: Float[Tensor, "n *shape"], parameters: Parameters) -> Float[Tensor, "n classes"]:
        """Return the logits of other points with the same parameters and statistics, -infinity where masked."""
        logits = self.graph(x, parameters)
        return logits if self.classes is None else logits.masked_fill(self.masked(x.device), -math.inf)

    def masked(self, device: torch.device) -> Bool[Tensor, " classes"]:
        """Return which classes a logit of -infinity masks."""
        if self.classes is None:
            return torch.zeros(self.graph.classes, dtype=torch.bool, device=device)
        masked = torch.ones(self.graph.classes, dtype=torch.bool, device=device)
        return masked.index_fill_(0, self.classes.to(device), False)

    def clean_pass(self, module: nn.Module, x: Float[Tensor, "n *shape"]) -> CleanPass:
        """Return the logits of a batch, in the module's own mode, and the parameters with the batch's statistics.

        Batch normalisations in training mode are bounded with mean and variance of this batch (as CTBench corrects
        earlier work, which had those of the bounds' centres), those in evaluation mode with the running ones.
        """
        with seen_statistics(self.norms) as statistics:
            logits = module(x)
        return CleanPass(logits=logits, parameters=self.parameters(statistics))

    def problem(self, domain: Domain, y: Int64[Tensor, " n"]) -> Problem:
        """Return the problem of bounding z_y - z_j for every other class j without a mask, in the network's dtype."""
        classes = torch.arange(self.graph.classes) if self.classes is None else self.classes
        every = torch.eye(self.graph.classes, dtype=self.dtype, device=y.device)
        others = classes.to(y.device).expand(len(y), -1)
        others = others[others != y[:, None]].view(len(y), -1)
        rows = every[y].unsqueeze(1) - every[others]
        return Problem(graph=self.graph, domain=domain.to(self.dtype), specification=rows, arithmetic=PLAIN)

    def worst_logits(self, margins: Float[Tensor, "n r"], y: Int64[Tensor, " n"]) -> Float[Tensor, "n classes"]:
        """Return logits of the worst case: 0 at y, -m_j at every class j with margin m_j, -infinity where masked.

        Their cross-entropy is at least that of every point at which z_y - z_j >= m_j (Wong and Kolter, ICML 2018,
        theorem 2).
        """
        n, classes = len(y), self.graph.classes
        bounded = (~self.masked(y.device)).expand(n, classes)
        logits = margins.new_zeros(n, classes).masked_fill(~bounded, -math.inf)
        return logits.masked_scatter(bounded.scatter(1, y[:, None], False), -margins)


def _owner(network: nn.Module, name: str) -> nn.Module | None:
    """Return the part of a network that has the tensor of this name, or None: it is a number in the code."""
    path, _, attribute = name.rpartition(".")
    try:
        part = network.get_submodule(path)
    except AttributeError:
        return None
    return part if isinstance(getattr(part, attribute, None), Tensor) else None
