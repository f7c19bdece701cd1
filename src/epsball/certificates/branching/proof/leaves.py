"""Leaves proved: bounds of rows over parts of a domain, on the whole network and with every error term.

At a bent node y = f(z) a leaf's lines hold on its own interval of z, and sign beta (z - kink) >= 0 for every split:

    A . y >= (max(A, 0) a + min(A, 0) s - sum sign beta) . z + max(A, 0) . c + min(A, 0) . t + sum sign beta kink.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from epsball.certificates.arithmetic import BINARY64
from epsball.certificates.box import Box
from epsball.certificates.branching.kinks import Pieces, is_bent, pieces
from epsball.certificates.branching.tightening.envelopes import ProvedEnvelope
from epsball.certificates.branching.tree import Conditional, Slopes, Step
from epsball.certificates.curves import LinearRelaxation
from epsball.certificates.linear.coefficients import Coefficients
from epsball.certificates.linear.sweep import Sweep, carried_over, carried_to_input
from epsball.certificates.propagation import Propagation
from epsball.certificates.rules.pointwise import carried
from epsball.certificates.tensors import flat, rowwise_dot, split
from epsball.graph import Node

_ROUNDINGS = 2.0**-49
"""Covers the few roundings of a piecewise linear f and of s z, and of their difference."""

_LEAVES = 32
"""Leaves that are proved together."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Lines:
    """Lines around a bent node and the pull of multipliers on what it takes, (1, L, *shape) each; `push` is (1, L)."""

    lines: LinearRelaxation
    pull: Tensor
    push: Tensor
    push_error: Tensor


class _Given(NamedTuple):
    """What lines around a bent node stand on: slopes, boxes, and the constraints of each leaf."""

    slopes: Slopes
    boxes: Mapping[str, Box]
    paths: Sequence[Sequence[Step]]


def leaf_bounds(
    bounds: Propagation,
    rows: Tensor,
    paths: Sequence[Sequence[Step]],
    slopes: Mapping[str, Slopes],
    envelopes: Mapping[str, ProvedEnvelope],
    boxes: Mapping[str, Box],
) -> Tensor:
    """Return lower bounds, (L,), of rows (L, classes) over the parts of one example's domain that paths lead to.

    Where a node has envelopes, a lower slope is also the share of the envelope above. The boxes are those that the
    lines hold on.
    """
    found, output = [], bounds.graph.output
    for start in range(0, len(rows), _LEAVES):
        some = slice(start, start + _LEAVES)
        state = Sweep.of(bounds, output, Coefficients(rows[some].unsqueeze(0)))
        lines = {name: _Given(slope.take(some), boxes, paths[some]) for name, slope in slopes.items()}
        found.append(_swept(state, lines, envelopes))
    return torch.cat(found)


def conditional_bounds(
    bounds: Propagation,
    part: Conditional,
    row: Tensor,
    level: float,
    envelopes: Mapping[str, ProvedEnvelope],
    boxes: Mapping[str, Box],
) -> tuple[Tensor, Tensor]:
    """Return bounds, each (k,), of neurons where row . output <= level: z >= z + mu (row . output - level) there."""
    shape, k = bounds.graph[part.node].shape, len(part.neurons)
    units = torch.zeros(k, math.prod(shape), dtype=torch.float64)
    units[torch.arange(k), part.neurons] = 1.0
    mu = part.multipliers.unsqueeze(1)
    state = Sweep.of(bounds, part.node, Coefficients(torch.cat([units, -units]).view(1, 2 * k, *shape)))
    low, high = bounds.boxes[bounds.graph.output]
    size = torch.maximum(low.abs(), high.abs())[0]
    state.pend(bounds.graph.output, Coefficients((mu * row).unsqueeze(0)))
    # The products of mu with the row and with the level are rounded.
    doubt = 2.0**-50 * mu[:, 0] * (float(row.abs() @ size) + abs(level))
    state.add(-(mu[:, 0] * level).unsqueeze(0), doubt.unsqueeze(0))
    nowhere: Sequence[Sequence[Step]] = [()] * (2 * k)
    lines = {name: _Given(slope, boxes, nowhere) for name, slope in part.slopes.items()}
    found = _swept(state, lines, envelopes)
    return found[:k], -found[k:]


def _swept(state: Sweep, given: Mapping[str, _Given], envelopes: Mapping[str, ProvedEnvelope]) -> Tensor:
    """Return the bounds of rows, (L,), that a state begins with, each with lines of its own."""
    graph = state.bounds.graph
    for node in reversed(graph.nodes):
        if node.name not in state.pending or not is_bent(node) or node.name in graph.constant:
            if node.name in state.pending and node.name != graph.input.name:
                carried_over(state, node, state.pending.pop(node.name))
            continue
        taken = Coefficients(state.pending.pop(node.name).dense(node.shape))
        state.charge(taken, state.bounds.rounding[node.name])
        if node.name in envelopes:
            taken = _without_shares(state, node, taken, given[node.name].slopes, envelopes[node.name])
        around = _lines(state.bounds, node.name, given.get(node.name), taken.values.shape[1])
        values, constant = carried(around.lines, taken.values)
        state.add(constant + around.push, _doubt(around.lines, taken.values) + around.push_error)
        state.pend(node.inputs[0], Coefficients(values - around.pull))
    return carried_to_input(state)[0]


def _without_shares(
    state: Sweep, node: Node, rows: Coefficients, slopes: Slopes, envelope: ProvedEnvelope
) -> Coefficients:
    """Carry the envelopes' shares of negative coefficients to the input; return the rows that are left.

    A . y >= (A - B) . y + B . (G x + h) for any B <= 0, here rho min(A, 0). A - B is rounded once, which what is
    charged at the node covers.
    """
    values = flat(rows.values, 2)[0].clone()
    columns = torch.searchsorted(slopes.places, envelope.places)
    shares = slopes.lower[:, columns].double().clamp(0.0, 1.0)
    shared = values[:, envelope.places].clamp(max=0) * shares
    values[:, envelope.places] -= shared
    over_input, constant = envelope.g.back(shared.T).T, shared @ envelope.h
    gamma = BINARY64.gamma(len(envelope.places) + 8)
    state.add(constant.unsqueeze(0), gamma * (shared.abs() @ envelope.size).unsqueeze(0))
    source = state.bounds.graph.input
    state.pend(source.name, Coefficients(over_input.view(1, -1, *source.shape)))
    return Coefficients(values.view(rows.values.shape))


def _doubt(lines: LinearRelaxation, rows: Tensor) -> Tensor:
    """Return a bound on the rounding of max(A, 0) . c + min(A, 0) . t, and of its sum with what splits push."""
    above, below = split(flat(rows, 2))
    lower, upper = (flat(part, 2).abs() for part in (lines.lower, lines.upper))
    return BINARY64.gamma(above.shape[2] + 6) * (rowwise_dot(above, lower) - rowwise_dot(below, upper))


def _lines(bounds: Propagation, name: str, given: _Given | None, count: int) -> _Lines:
    """Return the lines around a bent node in each leaf."""
    node = bounds.graph[name]
    base: LinearRelaxation = bounds.relaxation(node)
    shape = (1, count, *node.shape)
    nothing = torch.zeros(1, 1, dtype=torch.float64)
    if given is None:
        return _Lines(lines=base, pull=nothing.view(1, 1, *(1,) * len(node.shape)), push=nothing, push_error=nothing)
    slopes, made = given.slopes, pieces(node, bounds.parameters)
    made = made._replace(
        slope=made.slope[slopes.places], weights=tuple(weight[slopes.places] for weight in made.weights)
    )
    source = given.boxes[node.inputs[0]]
    low, high = (end[0].flatten()[slopes.places].expand(count, -1).clone() for end in source)
    pull, push, error = _constrained(node.inputs[0], slopes.places, given.paths, low, high)
    parts, points = [], _points(made, low, high)
    chord = _chord(points)
    bends = torch.stack([(low < t) & (high > t) for t in made.kinks]).any(dim=0)
    for sign, chosen in ((1.0, slopes.lower), (-1.0, slopes.upper)):
        slope = chord if chosen is None else torch.where(bends, chosen.double(), chord)
        parts += [slope, _intercept(points, slope, sign)]
    wide = [flat(part.expand(shape), 2)[0].clone() for part in base]
    for whole, part in zip(wide, parts, strict=True):
        whole[:, slopes.places] = part
    whole = torch.zeros_like(wide[0])
    whole[:, slopes.places] = pull
    lines = LinearRelaxation(*(part.view(shape) for part in wide))
    return _Lines(lines=lines, pull=whole.view(shape), push=push.unsqueeze(0), push_error=error.unsqueeze(0))


def _constrained(
    source: str, places: Tensor, paths: Sequence[Sequence[Step]], low: Tensor, high: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Cut intervals by the splits on entries of a node, in place.

    Return by leaf the sums of sign beta at each entry, those of sign beta kink, and a bound on their rounding.
    """
    column = {place: at for at, place in enumerate(places.tolist())}
    width = len(places)
    cuts = [
        (leaf, leaf * width + column[cut.entry], sign, multiplier, cut.kink)
        for leaf, path in enumerate(paths)
        for cut, sign, multiplier in path
        if cut.node == source
    ]
    pull = torch.zeros_like(low)
    push, error = torch.zeros(len(paths), dtype=low.dtype), torch.zeros(len(paths), dtype=low.dtype)
    if cuts:
        leaves, at, signs, multipliers, kinks = (torch.tensor(part) for part in zip(*cuts, strict=True))
        signs, multipliers, kinks = signs.to(low), multipliers.to(low), kinks.to(low)
        on = signs > 0
        low.view(-1).scatter_reduce_(0, at[on], kinks[on], "amax")
        high.view(-1).scatter_reduce_(0, at[~on], kinks[~on], "amin")
        pull.view(-1).index_add_(0, at, signs * multipliers)
        push.index_add_(0, leaves, signs * multipliers * kinks)
        error.index_add_(0, leaves, 2.0**-40 * multipliers * kinks.abs())
    return pull, push, error


class _Point(NamedTuple):
    """A point z of each interval, f(z), and the sum of the magnitudes of what f(z) is the sum of, (L, m) each."""

    z: Tensor
    value: Tensor
    size: Tensor


def _points(made: Pieces, low: Tensor, high: Tensor) -> list[_Point]:
    """Return where f may exceed a line least on [low, high]: both ends, and the kinks inside."""
    found = []
    for z in (low, high, *(low.clamp(min=kink).minimum(high) for kink in made.kinks)):
        value, size = made.constant + made.slope * z, abs(made.constant) + (made.slope * z).abs()
        for kink, weight in zip(made.kinks, made.weights, strict=True):
            value = value + weight * (z - kink).clamp(min=0)
            size = size + weight.abs() * (z.abs() + abs(kink))
        found.append(_Point(z, value, size))
    return found


def _chord(points: Sequence[_Point]) -> Tensor:
    low, high, *_ = points
    wide = high.z > low.z
    return torch.where(wide, (high.value - low.value) / torch.where(wide, high.z - low.z, 1.0), 0.0)


def _intercept(points: Sequence[_Point], slope: Tensor, sign: float) -> Tensor:
    """Return c with sign f(z) >= sign (slope z + c) on intervals: f exceeds slope z least at an end or a kink."""
    least = torch.full_like(slope, torch.inf)
    for z, value, size in points:
        line = slope * z
        doubt = _ROUNDINGS * (size + line.abs()) + 2.0**-1060
        least = torch.minimum(least, sign * (value - line) - doubt)
    return sign * least
