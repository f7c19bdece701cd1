"""The search for a witness: projected gradient descent on the conjunctions' gaps, within the boxes."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from epsball.graph import Graph
from epsball.randomness import Keys
from epsball.verification.deadline import Deadline
from epsball.verification.regions import Region
from epsball.verification.surrogates import with_slopes
from epsball.verification.witness import Judge, candidates

TOLERANCE = 1e-5
"""Gaps, relative to a row's coefficients, below which onnxruntime is asked: the graph's own rounding is less."""

STEPS = 40
_FIRST, _LAST = 0.5, 0.005
_MOMENTUM = 0.8
_ENTRIES = 2**23
_MOST = 512
_ASKED = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Search:
    """A search in one region.

    Parameters
    ----------
    region
        Where.
    graph
        The network.
    judge
        Decides about candidates.
    seed
        Of the draws.
    """

    region: Region
    graph: Graph
    judge: Judge
    seed: int = 0

    def gaps(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n c"]:
        """Return for each conjunction its largest row, each row divided by the size of its coefficients.

        A conjunction holds where its gap is at most 0.
        """
        scaled = self._scaled(x)
        return torch.stack([scaled[:, list(rows)].amax(dim=1) for rows in self.region.conjunctions], dim=1)

    def real_gaps(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n c"]:
        """Return the same in float64, of float64 points."""
        with torch.no_grad():
            y = self.graph(x, {name: tensor.double() for name, tensor in self.graph.parameters.items()})
            scaled = self.region.rows.values(x, y) / self.region.rows.scales()
        return torch.stack([scaled[:, list(rows)].amax(dim=1) for rows in self.region.conjunctions], dim=1)

    def _scaled(self, x: Tensor) -> Tensor:
        return self.region.rows.values(x, self._sloped(x)) / self.region.rows.scales().to(x.dtype)

    @cached_property
    def _sloped(self) -> Graph:
        """The network, with gradients at its jumps."""
        return with_slopes(self.graph)

    def at(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n c"]:
        """Judge the best of some points of the region; return their gaps."""
        with torch.no_grad():
            gaps = self.gaps(x)
        least = torch.nan_to_num(gaps.amin(dim=1), nan=torch.inf)
        self.judge.judge(candidates(x, least, TOLERANCE, _ASKED))
        return gaps

    def round(self, number: int, among: Bool[Tensor, "n c"], deadline: Deadline) -> Tensor:
        """Search once for each of some conjunctions of boxes, from a start of its own; return the last points.

        Round 0 starts from the middles, later ones from uniform draws and corners in turn. Where a conjunction has
        several rows, its largest row descends, and in every third round the sum of its positive rows. With g_k the
        gradient and w the box's widths,

            m_k = mu m_(k-1) + g_k / mean abs(g_k),    x_(k+1) = clamp(x_k - s_k w sign(m_k)),

        mu = 0.8, and s_k falls geometrically from 1/2 to 1/200.

        Parameters
        ----------
        number
                The number of the round, which decides its draws.
        among
            Which conjunctions in which boxes: those that are not refuted.
        deadline
            When to stop.

        References
        ----------
        Dong et al., "Boosting adversarial attacks with momentum" (CVPR 2018).
        """
        last = []
        for box, conjunction in self._chunks(among):
            low, high = self.region.low[box], self.region.high[box]
            mine = Keys.of_positions(box * len(self.region.conjunctions) + conjunction, self.seed).derive(number)
            x = _starts(low, high, number, mine)
            last.append(self._descend(x, low, high, conjunction, _sum if number % 3 == 2 else _largest, deadline))
        return torch.cat(last) if last else self.region.low[:0]

    def near(self, x: Tensor, box: int, conjunction: int, deadline: Deadline) -> None:
        """Judge a point of a box, (*shape), and descend from it for one conjunction."""
        low, high = self.region.low[[box]], self.region.high[[box]]
        if bool(self.region.searchable[box]):
            x = torch.clamp(x.to(low.dtype).unsqueeze(0), low, high)
            self.at(x)
            self._descend(x, low, high, torch.tensor([conjunction]), _largest, deadline)

    def _chunks(self, among: Tensor) -> Iterator[tuple[Int[Tensor, " n"], Int[Tensor, " n"]]]:
        """Yield boxes and conjunctions, every pair once."""
        pairs = torch.nonzero(among & self.region.searchable.unsqueeze(1))
        entries = sum(max(1, math.prod(node.shape)) for node in self.graph.nodes)
        for part in pairs.split(max(1, min(_MOST, _ENTRIES // entries))):
            if len(part):
                yield part[:, 0], part[:, 1]

    def _descend(
        self,
        x: Tensor,
        low: Tensor,
        high: Tensor,
        conjunction: Tensor,
        loss: Callable[[Tensor], Tensor],
        deadline: Deadline,
    ) -> Tensor:
        masks = torch.zeros(len(self.region.conjunctions), len(self.region.rows), dtype=torch.bool)
        for number, rows in enumerate(self.region.conjunctions):
            masks[number, list(rows)] = True
        mask, width, momentum = masks[conjunction], high - low, torch.zeros_like(x)
        for step in range(STEPS):
            deadline.check()
            x = x.requires_grad_()
            scaled = self._scaled(x)
            own = scaled.masked_fill(~mask, -torch.inf)
            (gradient,) = torch.autograd.grad(loss(own).sum(), x)
            gap = torch.nan_to_num(own.detach().amax(dim=1), nan=torch.inf)
            x = x.detach()
            self.judge.judge(candidates(x, gap, 0.0, 1))
            size = _FIRST * (_LAST / _FIRST) ** (step / (STEPS - 1))
            momentum = _MOMENTUM * momentum + _normalised(torch.nan_to_num(gradient))
            x = torch.clamp(x - size * width * momentum.sign(), low, high)
        self.at(x)
        return x


def _largest(rows: Tensor) -> Tensor:
    return rows.amax(dim=1)


def _normalised(gradient: Tensor) -> Tensor:
    """Return gradients divided by the mean size of their entries; 0 stays 0."""
    mean = gradient.abs().flatten(1).mean(dim=1)
    return gradient / mean.clamp(min=torch.finfo(gradient.dtype).tiny).view(-1, *(1,) * (gradient.ndim - 1))


def _sum(rows: Tensor) -> Tensor:
    return rows.clamp(min=0).sum(dim=1)


def _starts(low: Tensor, high: Tensor, number: int, keys: Keys) -> Tensor:
    """Return the starts of a round: the middles, uniform draws, or corners."""
    if number == 0:
        return torch.clamp(0.5 * low + 0.5 * high, low, high)
    share = keys.uniform(low.shape[1:], low.dtype)
    if number % 2 == 0:
        share = share.round()
    return torch.clamp(low + share * (high - low), low, high)
