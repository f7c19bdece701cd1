"""The search for a witness where a network has no graph: points are changed at random and asked of onnxruntime."""

import torch
from torch import Tensor

from epsball.randomness import Keys
from epsball.verification.deadline import Deadline
from epsball.verification.regions import Region
from epsball.verification.search import TOLERANCE
from epsball.verification.witness import Judge

TRIES = 3000
"""Points that are asked for in all, beside the middles; each conjunction of each box gets its share."""

_LEAST = 20
_FIRST, _LAST = 0.5, 0.01
"""Share of the entries that change at once, at the beginning and in the end."""


def blind_search(region: Region, judge: Judge, seed: int, deadline: Deadline) -> None:
    """Search a region without gradients; raise `Found` at a witness.

    Each conjunction of each box begins at the best of the middle, a few corners and a few uniform draws. Then a run of
    neighbouring entries is set to the ends of the box, or drawn anew, and kept where the conjunction's largest row,
    divided by the size of its coefficients, does not grow.

    References
    ----------
    Andriushchenko et al., "Square Attack" (ECCV 2020), here for boxes of any shape.
    """
    pairs = torch.nonzero(region.searchable.unsqueeze(1).expand(-1, len(region.conjunctions)))
    tries = max(_LEAST, TRIES // max(1, len(pairs)))
    for box, conjunction in pairs.tolist():
        walk = _Walk(region, judge, box, conjunction)
        keys = Keys.of_positions(torch.tensor([box * len(region.conjunctions) + conjunction]), seed)
        walk.run(keys, tries, deadline)


class _Walk:
    """A walk for one conjunction in one box."""

    def __init__(self, region: Region, judge: Judge, box: int, conjunction: int) -> None:
        self.region, self.judge = region, judge
        self.rows = list(region.conjunctions[conjunction])
        self.low, self.high = region.low[box], region.high[box]
        self.varying = torch.nonzero((self.low < self.high).flatten())[:, 0]

    def run(self, keys: Keys, tries: int, deadline: Deadline) -> None:
        best = torch.clamp(0.5 * self.low + 0.5 * self.high, self.low, self.high)
        least = self._gap(best)
        starts = max(1, tries // 5)
        for number in range(tries if len(self.varying) else 0):
            deadline.check()
            draw = keys.derive(number)
            x = self._start(draw, number) if number < starts else self._changed(best, draw, number / tries)
            gap = self._gap(x)
            if gap <= least:
                best, least = x, gap

    def _gap(self, x: Tensor) -> float:
        """Return the largest row at a point, by onnxruntime's outputs; judge it where it is near 0."""
        outputs = self.judge.network.outputs(x)
        if outputs is None:
            return torch.inf
        y = torch.tensor([outputs], dtype=torch.float64)
        values = self.region.rows.values(x.double().unsqueeze(0), y) / self.region.rows.scales()
        gap = values[0, self.rows].amax().item()
        if gap <= TOLERANCE:
            self.judge.judge([x])
        return gap

    def _start(self, keys: Keys, number: int) -> Tensor:
        share = keys.uniform(self.low.shape, self.low.dtype)[0]
        share = share.round() if number % 2 else share
        return torch.clamp(self.low + share * (self.high - self.low), self.low, self.high)

    def _changed(self, x: Tensor, keys: Keys, done: float) -> Tensor:
        """Return a point with a run of the entries that vary set to ends of the box, or drawn anew."""
        size = max(1, round(len(self.varying) * _FIRST * (_LAST / _FIRST) ** done))
        at, kind, *_ = keys.derive("run").uniform((2,), torch.float64)[0].tolist()
        first = int(at * (len(self.varying) - size + 1))
        chosen = self.varying[first : first + size]
        share = keys.uniform((size,), self.low.dtype)[0]
        share = share.round() if kind < 0.5 else share
        low, high = self.low.flatten()[chosen], self.high.flatten()[chosen]
        changed = x.flatten().clone()
        changed[chosen] = torch.clamp(low + share * (high - low), low, high)
        return changed.view(x.shape)
