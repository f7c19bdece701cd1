"""Lower slopes of rectifiers, optimised for each row of a specification."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from epsball.certificates.arithmetic import PLAIN
from epsball.certificates.linear.coefficients import Coefficients
from epsball.certificates.linear.relaxations import slope_limits
from epsball.certificates.linear.sweep import chunks, sweep
from epsball.certificates.propagation import Propagation


def optimised_slopes(
    bounds: Propagation,
    specification: Float[Tensor, "n r classes"],
    *,
    steps: int,
    step_size: float,
    max_memory: int | None = None,
) -> dict[str, Tensor]:
    """Return for each rectifier the slopes (n, r, *shape) of the best bound that an ascent met."""
    found = [
        _ascent(bounds.take(images), specification[images], steps, step_size)
        for images in chunks(bounds, specification, max_memory)
    ]
    return {name: torch.cat([part[name] for part in found]) for name in found[0]}


def _ascent(bounds: Propagation, specification: Tensor, steps: int, step_size: float) -> dict[str, Tensor]:
    """Climb by Adam within the slopes' limits; each row keeps the slopes of its own best bound."""
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
    ascent = torch.optim.Adam(slopes.values(), lr=step_size, maximize=True)
    for step in range(steps + 1):
        bound = sweep(plain, bounds.graph.output, Coefficients(specification), slopes=slopes)
        better = bound.detach() > best_bound
        best_bound = torch.where(better, bound.detach(), best_bound)
        for name, slope in slopes.items():
            rows = better.view(n, r, *(1,) * (slope.ndim - 2))
            best[name] = torch.where(rows, slope.detach(), best[name])
        if step == steps:
            break
        ascent.param_groups[0]["lr"] = step_size * 0.1 ** (step / max(1, steps - 1))
        ascent.zero_grad()
        bound.sum().backward()
        ascent.step()
        with torch.no_grad():
            for name, slope in slopes.items():
                slope.clamp_(*limits[name])
    return best
