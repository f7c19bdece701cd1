"""Envelopes: linear functions of the input above rectifiers, chosen for one row, and proved.

For z <= U(x) = a . x + a0 on X and any g,

    relu(z) <= g . x + h,    h = max(a0 + max over X of (a - g) . x,  max over X of -g . x).

g = tau a, tau in [0, 1] by rectifier and entry of the input. Where a row's coefficient A on relu(z) is negative,
A relu(z) >= A ((1 - rho) (s z + t) + rho (g . x + h)).

References
----------
Tjandraatmadja et al., "The convex relaxation barrier, revisited" (NeurIPS 2020), there over the layer before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from epsball.certificates.arithmetic import SLACK
from epsball.certificates.branching.dual import Dual, Envelope, Parts
from epsball.certificates.branching.reduced import Functions, Layer
from epsball.certificates.branching.region import Region
from epsball.certificates.branching.tightening import Tightened
from epsball.certificates.branching.tree import Taus
from epsball.certificates.linear.sweep import Sweep, carried_over
from epsball.certificates.propagation import Propagation
from epsball.certificates.slopes.neurons import NeuronSlopes
from epsball.graph.kinds import Elementwise

LEVELS = 255
"""tau is a whole number over this."""

_STEPS, _STEP, _DECAY = 60, 0.1, 0.97


class Above(NamedTuple):
    """Linear functions of the input above some neurons: a (m, d) and a0 (m,)."""

    a: Tensor
    a0: Tensor


def searched_above(tightened: Tightened) -> list[Above | None]:
    """Return for each layer of the reduced network functions above its rectifiers, as far as a search needs them.

    They stand on the slopes that bound the neurons from above; the first layers' neurons have none and need none.
    """
    reduced, found = tightened.reduced, []
    region = Region.of(reduced.bounds.domain, torch.float64)
    for k, layer in enumerate(reduced.layers):
        slopes = tightened.upper_slopes(layer)
        if slopes is None:
            found.append(None)
            continue
        below = Functions(
            -layer.functions.over_input,
            tuple(-part for part in layer.functions.over_layers),
            -layer.functions.constant,
        )
        dual = Dual(reduced.layers[:k], below, region, torch.float64)
        whole = dual.root(torch.arange(len(layer)))._replace(slopes=slopes.double())
        value, over_input, _ = dual.linear(whole)
        found.append(Above(-over_input, -value))
    return found


def chosen_taus(
    dual: Dual, above: Sequence[Above | None], parts: Parts, layers: Sequence[Layer], goal: float
) -> tuple[dict[str, Taus], Tensor]:
    """Return the taus that are best for a row over the whole domain, and the slopes and shares there, (1, m).

    Parameters
    ----------
    dual, above
        The row, without envelopes, and functions above the rectifiers of each layer.
    parts
        The whole domain for the row, with slopes to begin with.
    layers
        The layers.
    goal
        The value above which nothing better is looked for.
    """
    given = [None if one is None else Above(one.a.to(dual.dtype), one.a0.to(dual.dtype)) for one in above]
    coefficients = dual.bound(parts).coefficients
    mixed = torch.where(coefficients >= 0, parts.slopes, torch.full_like(parts.slopes, 0.5)).requires_grad_()
    taus = [
        None if one is None else dual.chord[at].unsqueeze(1).expand_as(one.a).clone().requires_grad_()
        for one, at in zip(given, dual.slices, strict=True)
    ]
    leaves = [mixed, *(tau for tau in taus if tau is not None)]
    adam = torch.optim.Adam(leaves, lr=_STEP, maximize=True)
    best, kept = -torch.inf, [leaf.detach().clone() for leaf in leaves]
    for step in range(_STEPS + 1):
        dual.envelopes = [
            None if one is None or tau is None else _envelope(one, tau, dual.region)
            for one, tau in zip(given, taus, strict=True)
        ]
        value, over_input, _ = dual.linear(parts._replace(slopes=mixed))
        bound = (value + dual.region.least(over_input)[0]).sum()
        if bound.item() > best:
            best, kept = bound.item(), [leaf.detach().clone() for leaf in leaves]
        if step == _STEPS or best > goal:
            break
        adam.param_groups[0]["lr"] = _STEP * _DECAY**step
        adam.zero_grad()
        bound.backward()
        adam.step()
        with torch.no_grad():
            for leaf in leaves:
                leaf.nan_to_num_().clamp_(0.0, 1.0)
    rest = iter(kept[1:])
    found = {
        layer.node: Taus(places=layer.places, levels=next(rest).mul(LEVELS).round().to(torch.uint8))
        for layer, tau in zip(layers, taus, strict=True)
        if tau is not None
    }
    dual.envelopes = [
        _envelope(one, found[layer.node].levels.to(dual.dtype) / LEVELS, dual.region) if one is not None else None
        for one, layer in zip(given, layers, strict=True)
    ]
    return found, kept[0]


def _envelope(above: Above, tau: Tensor, region: Region) -> Envelope:
    g = tau * above.a
    h = torch.maximum(above.a0 - region.least(g - above.a)[0], -region.least(g)[0])
    return Envelope(g, h)


@dataclass(frozen=True, kw_only=True, eq=False)
class ProvedEnvelope:
    """Proved envelopes of a bent node: entries (m,), g (m, d) and h (m,), and |g| . x + |h| at most, (m,)."""

    places: Tensor
    g: Tensor
    h: Tensor
    size: Tensor


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
        found[name] = ProvedEnvelope(places=given.places, g=g, h=h, size=size + h.abs())
    return found


def is_plain(bounds: Propagation, name: str) -> bool:
    """Return whether a bent node is a ReLU itself: others are lines plus ReLUs and get no envelopes."""
    kind = bounds.graph[name].kind
    return isinstance(kind, Elementwise) and kind.function == "relu"
