"""What a search has found for each example of one chunk."""

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from epsball.ball import Ball


class Nearest:
    """The nearest point proposed for each example, not yet verified.

    Attributes
    ----------
    point, distance
        The point, and its distance from the example; the example itself and infinity at first.
    """

    def __init__(self, x: Float[Tensor, "n *shape"]) -> None:
        self.point = x.clone()
        self.distance = torch.full((len(x),), torch.inf, dtype=torch.float64, device=x.device)

    def propose(
        self, owners: Int64[Tensor, " m"], points: Float[Tensor, "m *shape"], distance: Float64[Tensor, " m"]
    ) -> None:
        """Keep the points that are nearer to their owners than what was proposed before."""
        nearer = torch.nonzero(distance < self.distance[owners])[:, 0]
        if len(nearer) == 0:
            return
        rows = nearer[first_lowest(owners[nearer], distance[nearer], len(self.distance))]
        chosen = owners[rows]
        self.point.index_copy_(0, chosen, points.index_select(0, rows))
        self.distance.index_copy_(0, chosen, distance[rows])


def first_lowest(owners: Int64[Tensor, " m"], values: Float64[Tensor, " m"], n: int) -> Int64[Tensor, " k"]:
    """Return, for each owner in 0..n-1 that has rows, its first row of lowest value."""
    lowest = values.new_full((n,), torch.inf).scatter_reduce_(0, owners, values, "amin")
    rows = torch.nonzero(values == lowest[owners])[:, 0]
    first = owners.new_full((n,), len(owners)).scatter_reduce_(0, owners[rows], rows, "amin")
    return first[first < len(owners)]


AT_POINT = "the logits are not finite at a point of its ball"
AT_EXAMPLE = "the logits are not finite at the example itself"


class Record:
    """Verified points and verdicts, and the candidates of the search.

    Only the canonical pass changes `point`, `margin`, `nearest`, `distance` and `broken`. The search
    proposes candidates, which that pass judges at the end: the point of lowest margin in the ball,
    and for minimum-norm attacks the nearest adversarial points of the box.

    Attributes
    ----------
    x, y, index
        The chunk's examples and labels, and their positions in the call's x.
    natural
        The margins at the examples.
    point, margin
        The verified point of lowest margin, and that margin (float64); x itself at first.
    broken
        Whether a witness is verified.
    nearest, distance
        The nearest verified adversarial point, in the ball or not, and its distance; x and NaN
        where there is none.
    nearest_candidates
        Candidates for `nearest`: the nearest point that looked adversarial and, in case that is not
        confirmed, the nearest that did so beyond the rounding of the search. Empty for attacks whose
        domain is the ball.
    failed, reasons
        Whether the model failed on a point of the ball, and how, by position in the call's x.
    exhausted
        Whether the budget allows no further call.
    judged
        Canonical passes after the natural one.
    notes
        What attacks noted about the model, in order.
    """

    def __init__(
        self, ball: Ball, x: Tensor, y: Tensor, index: Tensor, natural: Float64[Tensor, " n"], *, box: bool = False
    ) -> None:
        self.ball, self.x, self.y, self.index = ball, x, y, index
        self.natural, self.point, self.margin = natural, x.clone(), natural.clone()
        self.broken = natural <= 0
        self.nearest = x.clone()
        self.distance = torch.where(self.broken, torch.zeros_like(natural), torch.nan)
        self.nearest_candidates: tuple[Nearest, ...] = (Nearest(x), Nearest(x)) if box else ()
        self.failed = natural.isnan()
        self.reasons = dict.fromkeys(index[self.failed].tolist(), AT_EXAMPLE)
        self.exhausted = torch.zeros_like(self.broken)
        self.judged = torch.zeros_like(index)
        self._candidate, self._lowest = x.clone(), natural.clone()
        self._pending = torch.zeros_like(self.broken)
        self.notes: dict[str, None] = {}
        self._attacks: list[str] = []
        self._proposer, self._finder = torch.full_like(index, -1), torch.full_like(index, -1)

    def done(self, *, including_broken: bool) -> Bool[Tensor, " n"]:
        """Return the entries on which the search need not, or cannot, work any more."""
        done = self.failed | self.exhausted
        return done | self.broken if including_broken else done

    def attribute(self, attack: str) -> None:
        """Attribute what is proposed from now on to an attack."""
        self._attacks.append(attack)

    @property
    def by(self) -> list[str | None]:
        """The attack that found each entry's first witness; None where there is none or none was needed."""
        return [None if finder < 0 else self._attacks[finder] for finder in self._finder.tolist()]

    def lowest(self, entries: Int64[Tensor, " m"]) -> Float64[Tensor, " m"]:
        """Return the lowest margins proposed for some entries, as the search saw them."""
        return self._lowest[entries]

    def propose(
        self, owners: Int64[Tensor, " m"], points: Float[Tensor, "m *shape"], margin: Float64[Tensor, " m"]
    ) -> None:
        """Keep points of lower margin as candidates, at most one row per owner (NaN is never lower)."""
        rows = torch.nonzero(margin < self._lowest[owners])[:, 0]
        if len(rows) == 0:
            return
        chosen = owners[rows]
        self._candidate.index_copy_(0, chosen, points.index_select(0, rows))
        self._lowest.index_copy_(0, chosen, margin[rows])
        self._pending.index_fill_(0, chosen, True)
        self._proposer.index_fill_(0, chosen, len(self._attacks) - 1)

    def propose_nearest(
        self,
        owners: Int64[Tensor, " m"],
        points: Float[Tensor, "m *shape"],
        margin: Float64[Tensor, " m"],
        size: Float[Tensor, " m"],
        rounding: float,
    ) -> None:
        """Keep the nearest points of the box that look adversarial, and the nearest that do so beyond rounding.

        Beyond rounding: by a margin of at least the share `rounding` of the logits' size and of the natural
        margin. Ties are excluded: another implementation may break them toward the label.
        """
        nearest, firm = self.nearest_candidates
        rows = torch.nonzero((margin < 0) & self.ball.in_box(points))[:, 0]
        if len(rows) == 0:
            return
        owners, points, margin = owners[rows], points[rows], margin[rows]
        distance = self.ball.distance(points, self.x[owners])
        nearest.propose(owners, points, distance)
        beyond = margin <= -rounding * torch.maximum(size[rows], self.natural[owners])
        firm.propose(owners, points, torch.where(beyond, distance, torch.inf))

    def confirm(
        self,
        owners: Int64[Tensor, " m"],
        points: Float[Tensor, "m *shape"],
        canonical: Float64[Tensor, " m"],
        cost: int,
    ) -> None:
        """Take the canonical margins of points inside the ball, at `cost` passes each."""
        self.judged.index_add_(0, owners, torch.full_like(owners, cost))
        bad = owners[canonical.isnan()]
        self.reasons.update({i: AT_POINT for i in self.index[bad].tolist() if i not in self.reasons})
        self.failed[bad] = True
        hit = torch.nonzero(canonical <= 0)[:, 0]
        if len(hit):
            self._mark_broken(owners[hit], points[hit])
        lower = torch.nonzero(canonical < self.margin[owners])[:, 0]
        if len(lower):
            rows = lower[first_lowest(owners[lower], canonical[lower], len(self.x))]
            self.point[owners[rows]] = points[rows]
            self.margin[owners[rows]] = canonical[rows]
        # Last, so that after an interruption the candidate is judged again.
        self._pending[owners[hit]] = False

    def confirm_nearest(
        self,
        owners: Int64[Tensor, " m"],
        points: Float[Tensor, "m *shape"],
        canonical: Float64[Tensor, " m"],
        cost: int,
    ) -> None:
        """Take the canonical margins of points of the box, in the ball or not, at `cost` passes each.

        Outside the ball ties do not count.
        """
        inside = self.ball.contains(points, self.x[owners])
        self.confirm(owners[inside], points[inside], canonical[inside], cost)
        outside = owners[~inside]
        self.judged.index_add_(0, outside, torch.full_like(outside, cost))
        hit = ~inside & (canonical < 0)
        self._update_nearest(owners[hit], points[hit])

    def _mark_broken(self, owners: Tensor, points: Tensor) -> None:
        """Mark the owners of verified witnesses as broken by the attack that proposed their candidates."""
        self._update_nearest(owners, points)
        fresh = owners[~self.broken[owners]]
        self._finder[fresh] = self._proposer[fresh]
        self.broken[owners] = True

    def _update_nearest(self, owners: Tensor, points: Tensor) -> None:
        """Keep verified adversarial points that are nearer than the previous ones."""
        distance = self.ball.distance(points, self.x[owners])
        nearer = torch.nonzero(distance < self._verified(owners))[:, 0]
        rows = nearer[first_lowest(owners[nearer], distance[nearer], len(self.x))]
        self.nearest[owners[rows]] = points[rows]
        self.distance[owners[rows]] = distance[rows]

    def _verified(self, entries: Tensor) -> Tensor:
        """Return the verified distances of some entries, infinite where there is none."""
        return self.distance[entries].nan_to_num(nan=torch.inf)

    def nearer(self, candidates: Nearest) -> Int64[Tensor, " m"]:
        """Return the entries whose candidate is nearer than what is verified."""
        entries = torch.arange(len(self.x), device=self.x.device)
        return entries[candidates.distance < self._verified(entries)]

    def pending(self) -> Int64[Tensor, " m"]:
        """Return the entries whose candidate the canonical pass has not judged yet."""
        return torch.nonzero(self._pending)[:, 0]

    def candidates(self, entries: Int64[Tensor, " m"]) -> Float[Tensor, "m *shape"]:
        """Return the candidates of some entries."""
        return self._candidate[entries]
