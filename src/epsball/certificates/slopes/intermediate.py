"""Lower slopes for intermediate bounds too: for examples that slopes of the final rows nearly certify."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from epsball.certificates.linear.refinement import refiner
from epsball.certificates.linear.relaxations import slope_limits
from epsball.certificates.linear.sweep import final_bounds
from epsball.certificates.problem import LowerBounds, Problem
from epsball.certificates.propagation import Propagation
from epsball.certificates.slopes.final import Schedule
from epsball.certificates.slopes.joint_ascent import Ascent
from epsball.certificates.slopes.neurons import bounding, neuron_slopes

REACH = 2.0
"""An example is tried if no row lacks more than this many times what slopes of the final rows gained."""

ROOM = 2**30
"""Bytes for the slopes of one example and the ascent's copies of them, where no `max_memory` is given."""

_COPIES = 16
"""Tensors of the size of the slopes: themselves, the best, gradients, two moments, whole ones, and a sweep's own."""


def with_intermediate_slopes(
    bounds: Propagation,
    problem: Problem,
    found: LowerBounds,
    without: Float[Tensor, "n r"],
    schedule: Schedule,
    *,
    tightest: bool = False,
) -> LowerBounds:
    """Return bounds that are better for examples within reach, by slopes for their intermediate bounds.

    The ascent runs in float32 without error terms: any slopes give bounds that hold, and the bounds returned are
    computed with them. No bound is below what it was. Under `max_memory`, neurons far from the output keep their
    bounds where the slopes of all neurons would take more.

    Parameters
    ----------
    bounds, problem
        Bounds on every node, and what is bounded.
    found, without
        Bounds of the rows by slopes of their own, (n, r, *shape) by rectifier, and without these.
    schedule
        Of the ascent.
    tightest
        Whether all rows of all examples are to gain, and not only those that may become positive.

    References
    ----------
    Xu et al., "Fast and complete: enabling complete verification with rapid and massively parallel incomplete
    verifiers" (ICLR 2021): intermediate slopes, optimised jointly through the final bound.
    """
    room = (ROOM if problem.max_memory is None else problem.max_memory) // (4 * _COPIES)
    better: dict[int, LowerBounds] = {}
    passes: dict[int, int] = {}
    tried = torch.ones(len(problem), dtype=torch.bool) if tightest else within_reach(without, found.rows)
    for number in torch.nonzero(tried)[:, 0].tolist():
        one, part = problem.take(slice(number, number + 1)), bounds.take(slice(number, number + 1))
        neurons = neuron_slopes(part, room)
        if not neurons:
            continue
        start = found.example(number)
        ascent = Ascent(part, one.specification, start.rows, start.slopes, neurons, tightest=tightest)
        ascent.run(schedule)
        passes[number] = ascent.passes
        proved = _proved(one, start.slopes, ascent)
        if bool((proved.rows >= start.rows).all()):
            better[number] = proved
    return replace(found.with_examples(better) if better else found, passes=passes)


def within_reach(first: Tensor, rows: Tensor) -> Tensor:
    """Return which examples are not stable but may become so, (n,): no row lacks too much for what slopes gain."""
    lacking = rows <= 0
    near = ~lacking | (-rows <= REACH * (rows - first))
    return lacking.any(dim=1) & near.all(dim=1)


def _proved(problem: Problem, slopes: Mapping[str, Tensor], ascent: Ascent) -> LowerBounds:
    """Return the bounds of one example by the slopes that an ascent chose, each row by its better slopes.

    Boxes are derived from intervals on, as a reader who has only the slopes derives them, not from earlier boxes.
    """
    neurons = ascent.best_neurons()
    better = problem.propagate(refine=bounding(neurons, refiner(problem.max_memory, lower="every")))
    limits = slope_limits(better)
    choices = [slopes, ascent.best_final(slopes)]
    choices = [{name: slope.clamp(*limits[name]) for name, slope in choice.items()} for choice in choices]
    one, other = (
        final_bounds(better, problem.specification, slopes=choice, max_memory=problem.max_memory) for choice in choices
    )
    return LowerBounds(
        rows=torch.maximum(one, other),
        slopes={
            name: torch.where((other > one).view(1, -1, *(1,) * (slope.ndim - 2)), choices[1][name], slope)
            for name, slope in choices[0].items()
        },
        boxes=dict(better.boxes),
        neuron_slopes={0: neurons},
    )
