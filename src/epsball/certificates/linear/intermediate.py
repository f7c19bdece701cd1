"""Lower slopes for intermediate bounds too, optimised jointly with the final rows' through the final bound."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from epsball.certificates.arithmetic import PLAIN
from epsball.certificates.box import Box
from epsball.certificates.domain import Domain
from epsball.certificates.linear.entries import Entries, bounding, climbing, own_entries
from epsball.certificates.linear.final import final_bounds
from epsball.certificates.linear.limits import slope_limits
from epsball.certificates.linear.rows import Rows
from epsball.certificates.linear.sweep import sweep
from epsball.certificates.propagation import Propagation, propagate

REACH = 2.0
"""An example is tried if no row lacks more than this times what slopes of the final rows gained it."""

ROOM = 2**30
"""Bytes for the slopes of one example and what the ascent makes of them, where no `max_memory` is given."""

_COPIES = 16
"""Tensors of the size of the slopes: themselves, the best, gradients, two moments, whole ones, and a sweep's own."""

_WARM_UP = 3
"""Steps before progress is judged: the first, of the largest size, often lead down."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Improved:
    """Better bounds of one example.

    Parameters
    ----------
    rows, slopes, boxes
        As in `LowerBounds`, for a batch of one.
    entries
        The slopes by which the boxes were improved.
    """

    rows: Tensor
    slopes: Mapping[str, Tensor]
    boxes: Mapping[str, Box]
    entries: Sequence[Entries]


def within_reach(first: Tensor, found: Tensor) -> Tensor:
    """Return the examples that are not decided, but may be: (n,), from bounds before and after the final rows' slopes."""
    lacking = found <= 0
    near = ~lacking | (-found <= REACH * (found - first))
    return lacking.any(dim=1) & near.all(dim=1)


def improved(
    bounds: Propagation,
    specification: Tensor,
    rows: Tensor,
    slopes: Mapping[str, Tensor],
    *,
    steps: int,
    step_size: float,
    max_memory: int | None = None,
) -> Improved | None:
    """Return better bounds of one example by slopes for its intermediate bounds, or None.

    The ascent runs in float32 without error terms: any slopes give bounds that hold, and the bounds returned are
    computed with them. No row's bound is below what it was.

    Parameters
    ----------
    bounds, specification
        Of one example.
    rows, slopes
        The bounds so far, (1, r), and the slopes (1, r, *shape) they came by.
    steps, step_size
        Of Adam; the size decays to a tenth.
    max_memory
        Bytes; where the slopes of all entries would take more, entries far from the output keep their bounds.
    """
    room = (ROOM if max_memory is None else max_memory) // (4 * _COPIES)
    entries = own_entries(bounds, room)
    if not entries:
        return None
    lacking = rows[0] <= 0
    some = {name: slope[:, lacking] for name, slope in slopes.items()}
    ascent = _Ascent(single(bounds), specification[:, lacking].float(), some, entries)
    entries, some = ascent.run(rows[:, lacking].float(), steps, step_size)
    better = propagate(bounds.graph, bounds.domain, bounds.arithmetic, boxes=bounds.boxes, refine=bounding(entries))
    limits = slope_limits(better)
    tried = [dict(slopes), {name: slope.clone() for name, slope in slopes.items()}]
    for name, slope in some.items():
        tried[1][name][:, lacking] = slope.to(slopes[name].dtype)
    held = [{name: slope.clamp(*limits[name]) for name, slope in choice.items()} for choice in tried]
    found = [final_bounds(better, specification, slopes=choice, max_memory=max_memory) for choice in held]
    best = torch.maximum(*found)
    if not bool((best >= rows).all()):
        return None
    second = (found[1] > found[0])[0]
    kept = {name: torch.where(second.view(1, -1, *(1,) * (slope.ndim - 2)), held[1][name], slope) for name, slope in held[0].items()}
    return Improved(rows=best, slopes=kept, boxes=better.boxes, entries=entries)


def single(bounds: Propagation) -> Propagation:
    """Return bounds in float32, and without error terms."""
    domain = bounds.domain
    return Propagation(
        graph=bounds.graph,
        parameters={name: tensor.float() for name, tensor in bounds.parameters.items()},
        domain=Domain(
            box=_single_box(domain.box), centre=domain.centre.float(), norm=domain.norm, radius=domain.radius
        ),
        arithmetic=PLAIN,
        boxes={name: _single_box(box) for name, box in bounds.boxes.items()},
    )


def _single_box(box: Box) -> Box:
    return Box(box.low.float(), box.high.float())


class _Ascent:
    """An ascent of the final rows of one example by all slopes at once.

    Parameters
    ----------
    bounds
        Bounds so far, in the ascent's type.
    specification
        The rows.
    slopes, entries
        Where it starts: slopes of the final rows and of entries.
    """

    def __init__(
        self, bounds: Propagation, specification: Tensor, slopes: Mapping[str, Tensor], entries: Sequence[Entries]
    ) -> None:
        self.bounds, self.specification, self.entries = bounds, specification, entries
        self.final = {name: _leaf(slope) for name, slope in slopes.items()}
        self.own = [{name: _leaf(slope) for name, slope in part.slopes.items()} for part in entries]

    def run(self, rows: Tensor, steps: int, step_size: float) -> tuple[list[Entries], dict[str, Tensor]]:
        """Climb until every row is above 0 by more than its error terms, or cannot be; return the best slopes met.

        The error terms of a row are taken to be a quarter more than what its bound lacks of the plain one at first.
        """
        leaves = [leaf for part in (self.final, *self.own) for leaf in part.values()]
        best, best_bound = [leaf.detach().clone() for leaf in leaves], -torch.inf
        adam = torch.optim.Adam(leaves, lr=step_size, maximize=True, foreach=True)
        target, before = torch.zeros_like(rows), -torch.inf
        for step in range(steps + 1):
            bound = self._bound()
            if step == 0:
                target = 1.25 * (bound.detach() - rows).clamp(min=0)
            lead = bound - target
            least = lead.min().item()
            if least > best_bound:
                best, best_bound = [leaf.detach().clone() for leaf in leaves], least
            hopeless = step >= _WARM_UP and least + (steps - step) * (least - before) <= 0
            if least > 0 or step == steps or hopeless:
                break
            before = least
            adam.param_groups[0]["lr"] = step_size * 0.1 ** (step / max(1, steps - 1))
            adam.zero_grad()
            lead.clamp(max=0).sum().backward()
            adam.step()
            with torch.no_grad():
                for leaf in leaves:
                    leaf.nan_to_num_().clamp_(0, 1)
        return self._chosen(best)

    def _bound(self) -> Tensor:
        """Return the final rows' bounds as a function of all slopes."""
        chosen = [part.having(slopes) for part, slopes in zip(self.entries, self.own, strict=True)]
        bounds = self.bounds
        now = propagate(
            bounds.graph,
            bounds.domain,
            PLAIN,
            parameters=bounds.parameters,
            boxes=bounds.boxes,
            refine=climbing(chosen),
        )
        limits = {name: (low.detach(), high.detach()) for name, (low, high) in slope_limits(now).items()}
        slopes = {name: leaf.clamp(*limits[name]) for name, leaf in self.final.items()}
        return sweep(now, bounds.graph.output, Rows(self.specification), slopes=slopes)

    def _chosen(self, values: list[Tensor]) -> tuple[list[Entries], dict[str, Tensor]]:
        """Return the slopes as entries and final rows have them, from values in the order of the leaves."""
        rest = iter(values)
        final = {name: next(rest) for name in self.final}
        return [part.having({name: next(rest) for name in part.slopes}) for part in self.entries], final


def _leaf(slope: Tensor) -> Tensor:
    return slope.detach().float().clone().requires_grad_()
