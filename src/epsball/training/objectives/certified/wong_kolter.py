"""Wong and Kolter's training on the dual network."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from epsball.certificates import Propagation
from epsball.errors import InputError
from epsball.graph import Graph
from epsball.randomness import Keys
from epsball.recipe import Recipe
from epsball.training.objectives.certified.batch_bounds import BatchBounds, live_network
from epsball.training.objectives.certified.certified import Certified
from epsball.training.objectives.certified.dual_bounds import (
    dual_rectifiers,
    exact_dual,
    parallel_slopes,
    projected_dual,
)
from epsball.training.objectives.objective import Context

LIMIT = 2**33
"""Bytes of rows that exact bounds of one batch may hold."""


@dataclass(frozen=True, kw_only=True)
class WongKolter(Certified):
    """Minimise CE(z', y), z' the logits of the worst case by the dual network, for linf and l2.

    Every layer is bounded by the dual network: exactly, which takes one row per neuron and suits small networks, or
    with ``projections=k`` by estimates from k random vectors, the margins still exactly over them. In linf the set is
    the ball within the pixels' box; in l2 rows take the better of the ball and of its box, estimates the ball alone.

    Parameters
    ----------
    projections
        k, published 50; 0 is exact.

    Examples
    --------
    >>> import epsball as eb
    >>> ball = eb.Ball("l2", 0.5)
    >>> eb.training.resolve("wong-kolter,projections=50", ball) == eb.training.WongKolter(ball=ball, projections=50)
    True

    References
    ----------
    Wong and Kolter, "Provable defenses against adversarial examples via the convex outer adversarial polytope" (ICML
    2018); Wong, Schmidt, Metzen and Kolter, "Scaling provable adversarial defenses" (NeurIPS 2018).
    """

    name: ClassVar[str] = "wong-kolter"

    kappa_start: float = 0.0
    kappa: float = 0.0
    projections: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.projections, int) or self.projections < 0:
            raise InputError(
                f"projections is {self.projections!r}; it is a number of random vectors, 0 for exact bounds."
            )
        if self.ball.norm == "l1":
            raise InputError("the dual network is for linf and l2; use the objective 'crown-ibp' for l1.")

    def robust(self, batch: BatchBounds) -> tuple[Tensor, Propagation]:
        """Return the cross-entropy of the worst case."""
        graph = batch.live.graph
        refine = exact_dual(graph)
        if self.projections:
            step = Keys.of_positions(torch.tensor([batch.context.step]), 0)
            refine = projected_dual(graph, self.projections, step)
        bounds = batch.propagate(batch.domain, refine)
        return batch.loss(batch.backward(bounds, slopes=parallel_slopes(bounds))), bounds

    def check(
        self,
        module: nn.Module,
        x: Float[Tensor, "n *shape"],
        y: Int64[Tensor, " n"],
        context: Context,
        recipe: Recipe,
    ) -> None:
        """Refuse a network that is not made of rectifiers, or for which exact bounds would not fit into memory."""
        graph = live_network(module, x, context).graph
        dual_rectifiers(graph)
        needed = recipe.batch_size * _rows(graph) * x.element_size()
        if not self.projections and needed > LIMIT:
            raise InputError(
                f"exact dual bounds of a batch of {recipe.batch_size} hold rows of {needed / 2**30:.0f} GiB. Give "
                "projections=50, or a smaller batch or network."
            )
        super().check(module, x[:2], y[:2], context, recipe)


def _rows(graph: Graph) -> int:
    """Return how many numbers the rows of all neurons hold for one example: those of each layer over all before it."""
    total, before = 0, 0
    for node in dual_rectifiers(graph):
        size = math.prod(node.shape)
        total += 2 * size * before
        before += size
    return total
