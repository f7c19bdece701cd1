"""Rows bounded on parts where neurons were cut: the cuts are constraints, each with a multiplier."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from epsball.certificates.arithmetic import PLAIN
from epsball.certificates.box import Box
from epsball.certificates.linear.coefficients import Coefficients
from epsball.certificates.linear.relaxations import fuse_all, slope_limits
from epsball.certificates.linear.sweep import Slopes, Sweep, carried_over, carried_to_input
from epsball.certificates.propagation import Propagation
from epsball.certificates.tensors import flat

STEPS, _SLOPE_STEP, _PULL_STEP = 8, 0.1, 0.1

_DOUBT = 2.0**-40
"""Covers the rounding of a sum of products of multipliers and ends."""


class Cut(NamedTuple):
    """Which entries of a node were cut, and what is left: its ends, and where each is a cut, (n, *shape)."""

    box: Box
    low: Tensor
    high: Tensor


class Pull(NamedTuple):
    """Multipliers >= 0 of z >= low and of z <= high for the entries z of a node, (n, *shape); 0 where nothing is cut.

    A row v, at a point of the part, is at least v - above . (z - low) - below . (high - z).
    """

    above: Tensor
    below: Tensor


Pulls = Mapping[str, Pull]


class Carried(NamedTuple):
    """Lower bounds of one row per example, (n,), and its coefficients over each node on the way, (n, *shape)."""

    value: Tensor
    met: Mapping[str, Tensor]


def carried(
    bounds: Propagation,
    rows: Float[Tensor, "n classes"],
    slopes: Slopes,
    cuts: Mapping[str, Cut] | None = None,
    pulls: Pulls | None = None,
) -> Carried:
    """Return bounds of rows, given lower slopes of rectifiers (n, 1, *shape), and multipliers of cuts."""
    fuse_all(bounds)
    state = Sweep.of(bounds, bounds.graph.output, Coefficients(rows.unsqueeze(1)), slopes)
    for name, pull in (pulls or {}).items():
        box = (cuts or {})[name].box
        # Where nothing is cut an end may be infinite, and its multiplier is 0.
        ends = (torch.where(part > 0, end, 0.0) for part, end in zip(pull, box, strict=True))
        pushes = [flat(part * end, 1) for part, end in zip(pull, ends, strict=True)]
        size = sum(push.abs().sum(dim=1) for push in pushes)
        state.add((pushes[0] - pushes[1]).sum(dim=1, keepdim=True), _DOUBT * torch.as_tensor(size).unsqueeze(1))
        state.pend(name, Coefficients((pull.below - pull.above).unsqueeze(1)))
    met = {}
    for node in reversed(bounds.graph.nodes):
        if node.name in state.pending:
            taken = state.pending.pop(node.name)
            met[node.name] = taken.dense(node.shape)[:, 0]
            carried_over(state, node, taken)
    return Carried(carried_to_input(state)[:, 0], met)


def ascended(
    bounds: Propagation, rows: Float[Tensor, "n classes"], slopes: Slopes, cuts: Mapping[str, Cut]
) -> tuple[dict[str, Tensor], dict[str, Pull]]:
    """Return the slopes (n, 1, *shape) and multipliers of the best bounds that a few steps of ascent find.

    Steps of multipliers are in units of the rows' coefficients over the node, as in `Dual.ascend`.
    """
    plain, limits = replace(bounds, arithmetic=PLAIN), slope_limits(bounds)
    with torch.no_grad():
        met = carried(plain, rows, slopes).met
    free = {}
    for name in limits:
        start = slopes.get(name, bounds.relaxation(bounds.graph[name]).lower_slope)
        free[name] = start.expand(len(rows), *start.shape[1:]).clone().requires_grad_()
    unit = {name: _unit(met, name, bounds) for name in cuts}
    shares = {name: [torch.zeros_like(cut.box.low).requires_grad_() for _ in range(2)] for name, cut in cuts.items()}
    groups = [
        {"params": list(free.values()), "lr": _SLOPE_STEP},
        {"params": [share for pair in shares.values() for share in pair], "lr": _PULL_STEP},
    ]
    adam = torch.optim.Adam([group for group in groups if group["params"]], maximize=True)
    best = torch.full((len(rows),), -torch.inf, dtype=rows.dtype)
    kept = {name: part.detach().clone() for name, part in free.items()}
    pulled = {name: Pull(*(share.detach().clone() for share in pair)) for name, pair in shares.items()}
    for step in range(STEPS + 1):
        pulls = {name: Pull(*(share * unit[name] for share in pair)) for name, pair in shares.items()}
        value = carried(plain, rows, free, cuts, pulls).value
        better = value.detach() > best
        best = torch.where(better, value.detach(), best)
        kept = {name: _where(better, part, kept[name]) for name, part in free.items()}
        pulled = {
            name: Pull(*(_where(better, new, old) for new, old in zip(pulls[name], pulled[name], strict=True)))
            for name in pulls
        }
        if step == STEPS:
            break
        adam.zero_grad()
        value.nan_to_num(0.0, 0.0, 0.0).sum().backward()
        adam.step()
        with torch.no_grad():
            for name, part in free.items():
                part.clamp_(*limits[name])
            for name, pair in shares.items():
                for share, cut in zip(pair, cuts[name][1:], strict=True):
                    share.clamp_(min=0).mul_(cut)
    return kept, pulled


def _where(better: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(better.view(-1, *(1,) * (old.ndim - 1)), new.detach(), old)


def _unit(met: Mapping[str, Tensor], name: str, bounds: Propagation) -> Tensor:
    """Return the size of the rows over what is made of a node, (n, *shape), and at least a part of the largest."""
    after = [node for node in bounds.graph.nodes if name in node.inputs and node.name in met]
    own = bounds.graph[name].shape
    same = [met[node.name].abs() for node in after if node.shape == own]
    most = torch.stack([flat(met[node.name].abs(), 1).amax(dim=1) for node in after]).amax(dim=0)
    size = sum(same) if same else torch.zeros(len(most), *own, dtype=most.dtype)
    return size + 0.05 * most.view(-1, *(1,) * len(own))
