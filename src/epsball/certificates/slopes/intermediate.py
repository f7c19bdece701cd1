"""Lower slopes for intermediate bounds too: for examples that the final rows' own slopes leave just undecided."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from epsball.certificates.box import Box
from epsball.certificates.linear.refinement import refiner
from epsball.certificates.linear.relaxations import slope_limits
from epsball.certificates.linear.sweep import final_bounds
from epsball.certificates.propagation import Propagation, propagate
from epsball.certificates.slopes.joint_ascent import Ascent
from epsball.certificates.slopes.neurons import Entries, bounding, own_entries

REACH = 2.0
"""An example is tried if no row lacks more than this times what slopes of the final rows gained it."""

ROOM = 2**30
"""Bytes for the slopes of one example and what the ascent makes of them, where no `max_memory` is given."""

_COPIES = 16
"""Tensors of the size of the slopes: themselves, the best, gradients, two moments, whole ones, and a sweep's own."""


@dataclass(kw_only=True, eq=False)
class Bounded:
    """Bounds of the final rows, and what they stand on.

    Parameters
    ----------
    rows, slopes, boxes
        Lower bounds (n, r), the slopes (n, r, *shape) of the final rows by rectifier, and bounds on every node.
    entries
        By example, the entries whose bounds were proved with slopes of their own.
    passes
        By example, rows carried back or forth for them.
    """

    rows: Tensor
    slopes: dict[str, Tensor]
    boxes: dict[str, Box]
    entries: dict[int, Sequence[Entries]] = field(default_factory=dict)
    passes: dict[int, int] = field(default_factory=dict)

    def put(self, number: int, one: "Bounded") -> None:
        """Take over what was found for one example."""
        at = slice(number, number + 1)
        self.rows[at], self.entries[number] = one.rows, one.entries[0]
        for name, slope in one.slopes.items():
            self.slopes[name][at] = slope
        self.boxes |= {name: _replaced(self.boxes[name], at, box) for name, box in one.boxes.items()}


def _replaced(box: Box, at: slice, new: Box) -> Box:
    """Return a box with another one for one example; what all examples share is the same in both."""
    if len(box.low) == 1:
        return new
    low, high = box.low.clone(), box.high.clone()
    low[at], high[at] = new
    return Box(low, high)


def with_intermediate_slopes(
    bounds: Propagation,
    specification: Float[Tensor, "n r classes"],
    first: Float[Tensor, "n r"],
    rows: Float[Tensor, "n r"],
    slopes: Mapping[str, Tensor],
    *,
    steps: int,
    step_size: float,
    max_memory: int | None = None,
) -> Bounded:
    """Return bounds that are better for examples within reach, by slopes for their intermediate bounds.

    The ascent runs in float32 without error terms: any slopes give bounds that hold, and the bounds returned are
    computed with them. No bound is below what it was.

    Parameters
    ----------
    bounds, specification
        Bounds on every node, and the rows.
    first, rows, slopes
        Bounds of the rows by the relaxations' own slopes, and by slopes of their own, (n, r, *shape).
    steps, step_size
        Of Adam; the size decays to a tenth.
    max_memory
        Bytes; where the slopes of all entries would take more, entries far from the output keep their bounds.

    References
    ----------
    Xu et al., "Fast and complete: enabling complete verification with rapid and massively parallel incomplete
    verifiers" (ICLR 2021): intermediate slopes, optimised jointly through the final bound.
    """
    found = Bounded(rows=rows.clone(), slopes=dict(slopes), boxes=dict(bounds.boxes))
    room = (ROOM if max_memory is None else max_memory) // (4 * _COPIES)
    for number in torch.nonzero(within_reach(first, rows))[:, 0].tolist():
        at = slice(number, number + 1)
        part = bounds.take(at)
        entries = own_entries(part, room)
        if not entries:
            continue
        start = {name: slope[at] for name, slope in slopes.items()}
        ascent = Ascent(part, specification[at], rows[at], start, entries)
        ascent.run(steps, step_size)
        better, found.passes[number] = _proved(part, specification[at], start, ascent, max_memory), ascent.passes
        if bool((better.rows >= rows[at]).all()):
            found.put(number, better)
    return found


def within_reach(first: Tensor, rows: Tensor) -> Tensor:
    """Return the examples that are not decided, but may be, (n,): no row lacks too much for what slopes gain."""
    lacking = rows <= 0
    near = ~lacking | (-rows <= REACH * (rows - first))
    return lacking.any(dim=1) & near.all(dim=1)


def _proved(
    bounds: Propagation, specification: Tensor, slopes: Mapping[str, Tensor], ascent: "Ascent", max_memory: int | None
) -> Bounded:
    """Return the bounds of one example by the slopes that an ascent chose, each row by its better slopes.

    Boxes are derived from intervals on, as one who has the slopes alone derives them, and not from those before.
    """
    refine = bounding(ascent.best_entries(), refiner(max_memory, extremes=True))
    better = propagate(bounds.graph, bounds.domain, bounds.arithmetic, refine=refine)
    limits = slope_limits(better)
    choices = [slopes, ascent.best_final(slopes)]
    choices = [{name: slope.clamp(*limits[name]) for name, slope in choice.items()} for choice in choices]
    one, other = (final_bounds(better, specification, slopes=choice, max_memory=max_memory) for choice in choices)
    return Bounded(
        rows=torch.maximum(one, other),
        slopes={
            name: torch.where((other > one).view(1, -1, *(1,) * (slope.ndim - 2)), choices[1][name], slope)
            for name, slope in choices[0].items()
        },
        boxes=dict(better.boxes),
        entries={0: ascent.best_entries()},
    )
