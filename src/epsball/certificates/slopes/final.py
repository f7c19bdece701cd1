"""Lower slopes of rectifiers, optimised for each row of a specification."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from epsball.certificates.arithmetic import PLAIN
from epsball.certificates.linear.coefficients import Coefficients
from epsball.certificates.linear.relaxations import slope_limits
from epsball.certificates.linear.sweep import chunks, final_bounds, sweep
from epsball.certificates.problem import LowerBounds, Problem
from epsball.certificates.propagation import Propagation


class Schedule(NamedTuple):
    """Steps of Adam, and the size of the first; the size decays to a tenth."""

    steps: int
    step_size: float

    def size(self, step: int) -> float:
        """Return the size of a step."""
        return self.step_size * 0.1 ** (step / max(1, self.steps - 1))


def with_slopes(
    bounds: Propagation,
    problem: Problem,
    slopes: Mapping[str, Tensor],
    without: Float[Tensor, "n r"],
) -> LowerBounds:
    """Return the bounds of the rows by slopes of their own, (n, r, *shape), where these are better than without."""
    rows = final_bounds(bounds, problem.specification, slopes=slopes, max_memory=problem.max_memory)
    better = rows > without
    kept = {
        name: torch.where(
            better.view(*better.shape, *(1,) * (slope.ndim - 2)),
            slope,
            bounds.relaxation(bounds.graph[name]).lower_slope,
        )
        for name, slope in slopes.items()
    }
    return LowerBounds(rows=torch.maximum(without, rows), boxes=bounds.boxes, slopes=kept)


def optimised_slopes(
    bounds: Propagation, specification: Float[Tensor, "n r classes"], schedule: Schedule, max_memory: int | None = None
) -> dict[str, Tensor]:
    """Return for each rectifier the slopes (n, r, *shape) of the best bound that an ascent found."""
    found = [
        _ascent(bounds.take(images), specification[images], schedule)
        for images in chunks(bounds, specification, max_memory)
    ]
    return {name: torch.cat([part[name] for part in found]) for name in found[0]}


def _ascent(bounds: Propagation, specification: Tensor, schedule: Schedule) -> dict[str, Tensor]:
    """Ascend by Adam within the slopes' limits; each row keeps the slopes of its own best bound."""
    plain = replace(bounds, arithmetic=PLAIN)
    limits = slope_limits(bounds)
    n, r = specification.shape[:2]
    slopes = {}
    for name in limits:
        start = bounds.relaxation(bounds.graph[name]).lower_slope
        slopes[name] = start.expand(n, r, *start.shape[2:]).clone().requires_grad_()
    if not slopes:
        return {}
    best = {name: slope.detach().clone() for name, slope in slopes.items()}
    best_bound = torch.full((n, r), -math.inf, dtype=specification.dtype, device=specification.device)
    ascent = torch.optim.Adam(slopes.values(), lr=schedule.step_size, maximize=True)
    for step in range(schedule.steps + 1):
        bound = sweep(plain, bounds.graph.output, Coefficients(specification), slopes=slopes)
        better = bound.detach() > best_bound
        best_bound = torch.where(better, bound.detach(), best_bound)
        for name, slope in slopes.items():
            rows = better.view(n, r, *(1,) * (slope.ndim - 2))
            best[name] = torch.where(rows, slope.detach(), best[name])
        if step == schedule.steps:
            break
        ascent.param_groups[0]["lr"] = schedule.size(step)
        ascent.zero_grad()
        bound.sum().backward()
        ascent.step()
        with torch.no_grad():
            for name, slope in slopes.items():
                slope.clamp_(*limits[name])
    return best
