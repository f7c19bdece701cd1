"""`BatchBounds`: bounds of one batch through live parameters, as objectives use them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int64
from torch import Tensor, nn

from epsball.ball import Ball
from epsball.certificates import Box, Domain, LiveNetwork, Propagation
from epsball.certificates.linear import sweep
from epsball.certificates.linear.coefficients import Coefficients
from epsball.certificates.methods import interval_rows
from epsball.certificates.propagation import Refine
from epsball.graph.kinds import Parameters
from epsball.training.engine.network import Network
from epsball.training.objectives.objective import Context


@dataclass(frozen=True, kw_only=True, eq=False)
class BatchBounds:
    """What an objective bounds: a batch, the ball at the radius in force, and the network as it is now.

    Parameters
    ----------
    live, parameters
        The network, and its parameters with the statistics of the batch.
    module
        The module itself, for searches.
    x, y, ball
        The batch, and the perturbation set in force.
    context
        Of the step, its share that of the radius.
    progress
        How much of the warm-up is over, in (0, 1].
    """

    live: LiveNetwork
    parameters: Parameters
    module: nn.Module
    x: Float[Tensor, "n *shape"]
    y: Int64[Tensor, " n"]
    ball: Ball
    context: Context
    progress: float

    @property
    def domain(self) -> Domain:
        """N(x), rounded outward in float64."""
        return Domain.of(self.ball, self.x)

    def propagate(self, domain: Domain, refine: Refine | None = None) -> Propagation:
        """Return intervals at every node over a domain of the batch: two passes forward, two back in the gradient."""
        self.context.count(2 * len(self.x), 2 * len(self.x))
        return self.live.problem(domain, self.y).propagate(parameters=self.parameters, refine=refine)

    def interval(self, bounds: Propagation) -> Float[Tensor, "n r"]:
        """Return lower bounds of the margins z_y - z_j by intervals, the last layer folded with the differences."""
        return interval_rows(bounds, self.live.problem(bounds.domain, self.y).specification)

    def backward(
        self,
        bounds: Propagation,
        rows: Float[Tensor, "n r classes"] | None = None,
        slopes: Mapping[str, Tensor] | None = None,
    ) -> Float[Tensor, "n r"]:
        """Return lower bounds of the margins, or of other rows of the logits, by one backward sweep over the bounds.

        Parameters
        ----------
        bounds
            Of every node.
        rows
            In place of those of the margins.
        slopes
            Lower slopes of rectifiers, in place of those of least area.
        """
        if rows is None:
            rows = self.live.problem(bounds.domain, self.y).specification
        self.context.count(*(len(self.x) * rows.shape[1],) * 2)
        return sweep(bounds, bounds.graph.output, Coefficients(rows), slopes=slopes)

    def logits(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """Return the logits of other points, with the statistics of the batch."""
        self.context.count(len(x), len(x))
        return self.live.logits(x, self.parameters)

    def loss(self, margins: Float[Tensor, "n r"]) -> Float[Tensor, " n"]:
        """Return the cross-entropy of the logits of the worst case, 0 at y and -m_j elsewhere."""
        return self.context.cross_entropy(self.live.worst_logits(margins, self.y), self.y)


def live_network(module: nn.Module, x: Tensor, context: Context) -> LiveNetwork:
    """Return the network as a graph, captured once per run."""
    key = ("live network", id(module))
    if key not in context.cache:
        network: Any = module.network if isinstance(module, Network) else module
        context.cache[key] = LiveNetwork.of(network, tuple(x.shape[1:]))
    return context.cache[key]


def within(domain: Domain, outer: Box) -> Domain:
    """Return the domain with its box cut to another one."""
    return Domain(box=domain.box.intersected(outer), centre=domain.centre, norm=domain.norm, radius=domain.radius)
