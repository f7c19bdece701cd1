"""Which rectifier a part of the domain is cut at: candidates by two scores, and a look ahead at both halves of each.

References
----------
De Palma et al., "Improved branch and bound for neural network verification via Lagrangian decomposition" (2021):
filtered branching.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from epsball.certificates.branching.relaxation.dual import Dual
from epsball.certificates.branching.relaxation.reduced import Layer
from epsball.certificates.branching.relaxation.subproblems import Bound, Parts
from epsball.certificates.branching.search.parts import Part

_CANDIDATES = 3
"""Rectifiers that each of the two scores proposes."""


class Cuts:
    """The cuts of one example's rows at rectifiers.

    Parameters
    ----------
    dual, layers
        The rows over the reduced network.
    """

    def __init__(self, dual: Dual, layers: Sequence[Layer]) -> None:
        self.dual = dual
        self._on_too, self._off_too = _following(layers)

    def candidates(self, parts: Parts, bound: Bound) -> Tensor:
        """Return rectifiers to try, (b, c): those that lose most where the bound is attained, or by their intercept."""
        free = parts.states == 0
        z, r, _ = self.dual.inputs(parts, bound)
        lost = bound.coefficients.abs() * (r - z.clamp(min=0)).abs()
        room = -bound.coefficients.clamp(max=0) * self.dual.intercept
        count = min(_CANDIDATES, free.shape[1])
        chosen = []
        for score in (lost, room):
            found = score.masked_fill(~free, -1.0).topk(count, dim=1)
            first = free.to(torch.uint8).argmax(dim=1, keepdim=True)
            chosen.append(torch.where(found.values >= 0, found.indices, first))
        return torch.cat(chosen, dim=1)

    def best_units(self, batch: Sequence[Part], at_once: int) -> Tensor:
        """Return for each part the candidate whose better half has the best bound, without an ascent."""
        candidates = torch.stack([part.candidates for part in batch])
        if candidates.shape[1] == 1 or not candidates.numel():
            return candidates[:, 0]
        repeated = [part for part in batch for _ in range(candidates.shape[1])]
        values = []
        for start in range(0, len(repeated), at_once):
            some = slice(start, start + at_once)
            halves = self.halves(repeated[some], candidates.flatten()[some])
            values.append(self.dual.values(halves))
        best = torch.cat(values).view(len(batch), -1, 2)
        score = best.amax(dim=2) + 1e-3 * best.amin(dim=2)
        return candidates.gather(1, score.argmax(dim=1, keepdim=True))[:, 0]

    def halves(self, batch: Sequence[Part], units: Tensor) -> Parts:
        """Return both halves of each part, below and above the kink in turn."""
        twice = torch.arange(len(batch)).repeat_interleave(2)
        whole = self.parts(batch).take(twice)
        states = whole.states
        signs = torch.tensor([-1, 1], dtype=torch.int8).repeat(len(batch))
        implied = torch.where(signs > 0, self._on_too[units][twice], self._off_too[units][twice])
        follows = torch.nonzero(implied >= 0)[:, 0]
        states[follows, implied[follows]] = 2 * signs[follows]
        states[torch.arange(len(states)), units[twice]] = signs
        return whole

    def parts(self, batch: Sequence[Part]) -> Parts:
        """Return parts as subproblems."""
        return Parts(
            torch.tensor([part.row for part in batch]),
            torch.stack([part.states for part in batch]),
            torch.stack([part.slopes for part in batch]).to(self.dual.dtype),
            torch.stack([part.multipliers for part in batch]),
        )


def _following(layers: Sequence[Layer]) -> tuple[Tensor, Tensor]:
    """Return for each rectifier another of the same entry that is on when it is, or off when it is; -1 for none."""
    named = [
        (layer.node, place, kink)
        for layer in layers
        for place, kink in zip(layer.places.tolist(), layer.kinks.tolist(), strict=True)
    ]
    on, off = (torch.full((len(named),), -1, dtype=torch.int64) for _ in range(2))
    first: dict[tuple[str, int], tuple[int, float]] = {}
    for unit, (node, place, kink) in enumerate(named):
        if (node, place) not in first:
            first[node, place] = unit, kink
            continue
        other, before = first[node, place]
        lesser, greater = (other, unit) if before < kink else (unit, other)
        on[greater], off[lesser] = lesser, greater
    return on, off
