"""Envelopes: linear functions of the input above rectifiers, chosen for one row, and proved.

For z <= U(x) = a . x + a0 on X and any g,

    relu(z) <= g . x + h,    h = max(a0 + max over X of (a - g) . x,  max over X of -g . x).

g = tau a, tau in [0, 1] by rectifier and entry of the input. Where a row's coefficient A on relu(z) is negative,
A relu(z) >= A ((1 - rho) (s z + t) + rho (g . x + h)).

References
----------
Tjandraatmadja et al., "The convex relaxation barrier, revisited" (NeurIPS 2020), there over the layer before.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from epsball.certificates.arithmetic import SLACK
from epsball.certificates.branching.relaxation.dual import Dual, adam
from epsball.certificates.branching.relaxation.matrices import Matrix, Sparse
from epsball.certificates.branching.relaxation.reduced import Functions, Layer
from epsball.certificates.branching.relaxation.region import Region
from epsball.certificates.branching.relaxation.subproblems import Envelope, Parts
from epsball.certificates.branching.tightening.neurons import Tightened
from epsball.certificates.branching.tree import Taus
from epsball.certificates.linear.sweep import Sweep, carried_over
from epsball.certificates.propagation import Propagation
from epsball.certificates.slopes.neurons import NeuronSlopes, by_window, with_own_slopes
from epsball.graph.kinds import Elementwise

LEVELS = 255
"""tau is a whole number over this."""

_STEPS, _STEP, _DECAY = 60, 0.1, 0.97

_PATIENCE, _GAIN = 10, 0.01
"""The choice ends where so many steps gain less than this share of the bound."""


class Above(NamedTuple):
    """Linear functions of the input above some neurons: a (m, d) and a0 (m,)."""

    a: Tensor
    a0: Tensor


class Shares(NamedTuple):
    """Functions above a layer's rectifiers, and tau beside those of their entries that are not 0."""

    above: Sparse
    a0: Tensor
    tau: Tensor

    def envelope(self, region: Region) -> tuple[Envelope, Tensor]:
        """Return the envelopes, and beside the entries of g the point that decides h."""
        a = self.above.values
        g = self.tau * a
        ends = [region.least_by_row(self.above.having(part)) for part in (g - a, g)]
        active, inactive = self.a0 - ends[0][0], -ends[1][0]
        point = torch.where((active > inactive)[self.above.rows], ends[0][1], ends[1][1])
        matrix = Matrix.of(self.above.having(g), len(region.low))
        return Envelope(matrix, torch.maximum(active, inactive)), point

    def levels(self) -> Tensor:
        """Return tau in 255ths, beside the entries."""
        return self.tau.mul(LEVELS).round().to(torch.uint8)


def searched_above(tightened: Tightened) -> list[Above | None]:
    """Return for each layer of the reduced network functions above its rectifiers, as far as a search has them.

    They stand on the slopes that bound the neurons from above. What the first layer's take is linear itself.
    """
    reduced, found = tightened.reduced, []
    region = Region.of(reduced.bounds.domain, torch.float64)
    for k, layer in enumerate(reduced.layers):
        slopes = tightened.upper_slopes(layer)
        over_input, over_layers, constant = layer.functions
        if k == 0:
            found.append(Above(over_input, constant))
        elif slopes is None:
            found.append(None)
        else:
            below = Functions(-over_input, tuple(-part for part in over_layers), -constant)
            dual = Dual(reduced.layers[:k], below, region, torch.float64)
            whole = dual.root(torch.arange(len(layer)))._replace(slopes=slopes.double())
            value, rows = dual.linear(whole)
            found.append(Above(-rows, -value))
    return found


def chosen_taus(
    dual: Dual, shares: Sequence[Shares | None], parts: Parts, goal: float
) -> tuple[list[Shares | None], Tensor]:
    """Return the envelopes that are best for a row over the whole domain, and the slopes and shares there, (1, m).

    The gradient is exact: where the relaxation is least, at x, d g = min(A, 0) rho (x - the point that decides h).

    Parameters
    ----------
    dual
        The row.
    shares
        Functions above the rectifiers of each layer, and the taus to begin with.
    parts
        The whole domain for the row, with slopes to begin with.
    goal
        The value above which nothing better is looked for.
    """
    coefficients = dual.bound(parts).coefficients
    slopes = torch.where(coefficients >= 0, parts.slopes, torch.full_like(parts.slopes, 0.5))
    slopes = torch.where(parts.states == 0, slopes, parts.slopes)
    now = list(shares)
    moments = [[torch.zeros_like(slopes) for _ in range(2)]]
    moments += [[torch.zeros_like(one.tau) for _ in range(2)] for one in now if one is not None]
    best, kept, before = -torch.inf, (list(now), slopes), -torch.inf
    for step in range(_STEPS + 1):
        made = [None if one is None else one.envelope(dual.region) for one in now]
        dual.envelopes = [None if one is None else one[0] for one in made]
        at = parts._replace(slopes=slopes)
        bound = dual.bound(at)
        if float(bound.value) > best:
            best, kept = float(bound.value), (list(now), slopes)
        if step == _STEPS or best > goal:
            break
        if step % _PATIENCE == 0:
            if best - before < _GAIN * abs(best):
                break
            before = best
        size, rest = _STEP * _DECAY**step, iter(moments)
        _, _, rise = dual.inputs(at, bound)
        moved = adam(bound.coefficients * rise, next(rest), step)
        shared = bound.coefficients.clamp(max=0) * slopes * (parts.states == 0)
        slopes = (slopes + size * moved).clamp_(0.0, 1.0)
        for k, (one, pair) in enumerate(zip(now, made, strict=True)):
            if one is not None and pair is not None:
                above, by_row = one.above, shared[0, dual.slices[k]]
                gradient = by_row[above.rows] * above.values * (bound.point[0, above.columns] - pair[1])
                now[k] = one._replace(tau=(one.tau + size * adam(gradient, next(rest), step)).clamp_(0.0, 1.0))
    found = [None if one is None else one._replace(tau=one.levels().to(dual.dtype) / LEVELS) for one in kept[0]]
    dual.envelopes = [None if one is None else one.envelope(dual.region)[0] for one in found]
    return found, kept[1]


def first_shares(dual: Dual, above: Sequence[Above | None]) -> list[Shares | None]:
    """Return the envelopes that are the chords, where there are functions above a layer's rectifiers."""
    found: list[Shares | None] = []
    for one, at in zip(above, dual.slices, strict=True):
        if one is None:
            found.append(None)
            continue
        entries = Sparse.of(one.a.to(dual.dtype))
        found.append(Shares(entries, one.a0.to(dual.dtype), dual.chord[at][entries.rows]))
    return found


def stored(layers: Sequence[Layer], shares: Sequence[Shares | None]) -> dict[str, Taus]:
    """Return envelopes as trees hold them."""
    found = {}
    for layer, one in zip(layers, shares, strict=True):
        if one is not None:
            levels = torch.zeros(len(layer), layer.functions.over_input.shape[1], dtype=torch.uint8)
            levels[one.above.rows, one.above.columns] = one.levels()
            found[layer.node] = Taus(places=layer.places, levels=levels)
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class ProvedEnvelope:
    """Proved envelopes of a bent node: entries (m,), g (m, d) and h (m,), and |g| . x + |h| at most, (m,)."""

    places: Tensor
    g: Matrix
    h: Tensor
    size: Tensor


def exact_neurons(bounds: Propagation, layer: Layer) -> list[NeuronSlopes]:
    """Return the neurons of a first layer: they are linear functions of the input, and have no slopes."""
    source = bounds.graph[bounds.graph[layer.node].inputs[0]]
    wanted = torch.zeros(math.prod(source.shape), dtype=torch.bool)
    wanted[layer.places] = True
    return [
        with_own_slopes(bounds, source, window, neurons, {})
        for window, neurons in by_window(source, wanted.view(source.shape))
    ]


def proved_above(bounds: Propagation, neurons: Sequence[NeuronSlopes]) -> dict[str, tuple[Tensor, Above]]:
    """Return functions above neurons by the slopes that bound them, by node: entries, and a with an a0 that holds."""
    found: dict[str, list[tuple[Tensor, Above]]] = {}
    for part in neurons:
        found.setdefault(part.node, []).append((part.neurons, _proved(bounds, part)))
    return {
        name: (
            torch.cat([places for places, _ in parts]),
            Above(torch.cat([one.a for _, one in parts]), torch.cat([one.a0 for _, one in parts])),
        )
        for name, parts in found.items()
    }


def _proved(bounds: Propagation, part: NeuronSlopes) -> Above:
    rows, slopes = part.upper_rows(bounds)
    state = Sweep.of(bounds, part.node, rows, slopes)
    name = bounds.graph.input.name
    for node in reversed(bounds.graph.nodes):
        if node.name in state.pending and node.name != name:
            carried_over(state, node, state.pending.pop(node.name))
    over_input = state.pending[name].dense(bounds.graph.input.shape).flatten(2)[0]
    lost = SLACK * (state.error + bounds.underflow.unsqueeze(1))
    a0 = torch.nextafter(lost - state.total, torch.full_like(lost, torch.inf))[0]
    return Above(-over_input, a0)


def proved_envelopes(
    bounds: Propagation, above: Mapping[str, tuple[Tensor, Above]], taus: Mapping[str, Taus]
) -> dict[str, ProvedEnvelope]:
    """Return envelopes with intercepts that hold, rounding included."""
    found, own = {}, bounds.arithmetic.own
    magnitude = bounds.domain.magnitude()[0].flatten()
    for name, given in taus.items():
        places, known = above[bounds.graph[name].inputs[0]]
        order = {place: at for at, place in enumerate(places.tolist())}
        rows = torch.tensor([order[place] for place in given.places.tolist()])
        a, a0 = known.a[rows], known.a0[rows]
        g = given.levels.double() / LEVELS * a
        shape = (1, len(g), *bounds.graph.input.shape)
        gamma = None if own is None else own.gamma
        ends = [bounds.domain.least(part.view(shape), lambda x: x, gamma)[0] for part in (g - a, g)]
        size = g.abs() @ magnitude
        # The difference g - a, and its sum with a0, are rounded.
        doubt = 2.0**-45 * ((a.abs() @ magnitude) + size + a0.abs()) + 2.0**-1000
        h = torch.maximum(a0 - ends[0], -ends[1]) + doubt
        found[name] = ProvedEnvelope(places=given.places, g=Matrix(g), h=h, size=size + h.abs())
    return found


def is_plain(bounds: Propagation, name: str) -> bool:
    """Return whether a bent node is a ReLU itself: others are lines plus ReLUs and get no envelopes."""
    kind = bounds.graph[name].kind
    return isinstance(kind, Elementwise) and kind.function == "relu"
