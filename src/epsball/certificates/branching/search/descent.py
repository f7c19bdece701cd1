"""Descent of margins inside a search: from where relaxations are least to where the network itself fails."""

import torch
from torch import Tensor

from epsball.certificates.branching.relaxation.region import Region
from epsball.certificates.propagation import Propagation

STEPS, _DECAY = 10, 0.75


class Descent:
    """The margins of one example's network and their descent over its domain.

    Parameters
    ----------
    bounds, rows
        Bounds of a batch of one, for the network and whether its margins are those as deployed; and the margins, over
        the output, (R, classes).
    region
        The domain.
    """

    def __init__(self, bounds: Propagation, rows: Tensor, region: Region) -> None:
        self._graph, self._rows, self.region = bounds.graph, rows, region
        self._deployed, self._parameters = bounds.arithmetic.deployed is not None, bounds.parameters

    def margins(self, points: Tensor) -> Tensor:
        """Return the margins of every row, (b, R), that the network has at points (b, d)."""
        with torch.no_grad():
            return self._margins(points)

    def _margins(self, points: Tensor) -> Tensor:
        x = points.view(-1, *self._graph.input.shape)
        logits = self._graph(x.float()) if self._deployed else self._graph(x.double(), self._parameters)
        return logits.double() @ self._rows.T

    def descended(self, rows: Tensor, points: Tensor) -> Tensor:
        """Return the points that a row's margin is least at, for each of the rows (b,) from a point (b, d) on.

        A step goes part of the way to where the margin's linear function at the point is least (Frank and Wolfe), so
        that it needs no step size for any norm. Where jumps alone lead to the margins there is no such function, and
        the point stays.
        """
        best, least = points, torch.full((len(points),), torch.inf, dtype=torch.float64)
        for step in range(STEPS + 1):
            leaf = points.detach().requires_grad_(step < STEPS)
            values = self._margins(leaf).gather(1, rows.unsqueeze(1))[:, 0]
            lower = values.detach() < least
            best, least = torch.where(lower.unsqueeze(1), points, best), torch.minimum(values.detach(), least)
            if step < STEPS and values.requires_grad:
                (gradient,) = torch.autograd.grad(values.sum(), leaf)
                _, target = self.region.least(gradient.T.contiguous())
                points = self.region.inside(points + _DECAY**step * (target.T - points))
        return best
