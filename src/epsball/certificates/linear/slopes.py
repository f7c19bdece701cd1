"""Lower slopes of rectifiers, optimised for each row of a specification."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from epsball.certificates.arithmetic import PLAIN
from epsball.certificates.curves import Lines
from epsball.certificates.linear.final import chunks
from epsball.certificates.linear.rows import Rows
from epsball.certificates.linear.sweep import sweep
from epsball.certificates.propagation import Propagation
from epsball.graph import Node
from epsball.graph.kinds import Elementwise, PReLU


def optimised_slopes(
    bounds: Propagation,
    specification: Float[Tensor, "n r classes"],
    *,
    steps: int,
    step_size: float,
    max_memory: int | None = None,
) -> dict[str, Tensor]:
    """Return for each rectifier the slopes (n, r, *shape) of the best bound that an ascent met."""
    found: list[dict[str, Tensor]] = []
    for images in chunks(bounds, specification, max_memory):
        found.append(_ascent(bounds.take(images), specification[images], steps, step_size))
    return {name: torch.cat([part[name] for part in found]) for name in found[0]}


def _ascent(bounds: Propagation, specification: Tensor, steps: int, step_size: float) -> dict[str, Tensor]:
    """Climb by Adam within the slopes' limits; each row keeps the slopes of its own best bound."""
    plain = replace(bounds, arithmetic=PLAIN)
    limits = {node.name: _limits(bounds, node) for node in bounds.graph.nodes if _free(node)}
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
        bound = sweep(plain, bounds.graph.output, Rows(specification), slopes=slopes)
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


def _free(node: Node) -> bool:
    """Return whether a node is a rectifier, of which any slope between its two gives a lower line through 0."""
    return isinstance(node.kind, PReLU) or (
        isinstance(node.kind, Elementwise) and node.kind.function in ("relu", "leaky_relu")
    )


def _limits(bounds: Propagation, node: Node) -> tuple[Tensor, Tensor]:
    """Return the least and the largest lower slope that is valid, (n, 1, *shape).

    Where the sign of x is known, or the rectifier is concave (and its lower line a chord), there is no choice.
    """
    lines: Lines = bounds.relaxation(node)
    low, high = (part.unsqueeze(1) for part in bounds.boxes[node.inputs[0]])
    free = (low < 0) & (high > 0) & (lines.lower == 0)
    at_minus_one = node.kind.forward(-torch.ones_like(low[:, 0]), parameters=bounds.parameters).unsqueeze(1)
    return (
        torch.where(free, torch.minimum(-at_minus_one, torch.ones_like(low)), lines.lower_slope),
        torch.where(free, 1.0, lines.lower_slope),
    )
