"""Neurons bounded where a row's margin is not positive: only there its proof needs bounds at all.

With a level that the row is to exceed, z >= z + mu (margin - level) wherever margin <= level, for mu >= 0. In a search
margin - level <= 0 is one more constraint, of a rectifier that is off.

References
----------
Kotha et al., "Provably bounding neural network preimages" (NeurIPS 2023).
"""

from collections.abc import Sequence

import torch

from epsball.certificates.branching.relaxation.dual import Dual
from epsball.certificates.branching.relaxation.lines import lines_around
from epsball.certificates.branching.relaxation.reduced import Functions, Layer, Reduced
from epsball.certificates.branching.relaxation.region import Region
from epsball.certificates.branching.relaxation.subproblems import Envelope, Schedule
from epsball.certificates.branching.tightening.neurons import both, rounded
from epsball.certificates.branching.tree import Conditional

_SCHEDULE = Schedule(25, 0.25, 0.1, decay=0.95)

ROWS = 256
"""Most rows that bound the neurons of one layer: layers with more gain little by it."""


def conditional_neurons(
    reduced: Reduced,
    layers: Sequence[Layer],
    envelopes: Sequence[Envelope | None],
    number: int,
    margin: Functions,
    level: float,
) -> tuple[Conditional, int]:
    """Return what bounds a layer's unstable neurons where a row's margin is at most a level, and the rows carried.

    Parameters
    ----------
    reduced
        The reduced network.
    layers, envelopes
        Its layers as they are bounded now, and envelopes above their rectifiers.
    number
        The number of the layer.
    margin, level
        The row, as one function, and the level.
    """
    layer, region = layers[number], Region.of(reduced.bounds.domain, torch.float32)
    neurons = layer.places[layer.is_free].unique()
    first = torch.stack([torch.nonzero(layer.places == neuron)[0, 0] for neuron in neurons])
    over_input, over_layers, constant = layer.functions.take(first)
    later = [over_input.new_zeros(len(first), width) for width in (*map(len, layers[number:]), 1)]
    values = Functions(over_input, (*over_layers, *later), constant + layer.kinks[first])
    dual = Dual([*layers, _constraint(margin, level)], both(values), region, torch.float32)
    dual.envelopes = [*envelopes, None]
    whole = dual.root(torch.arange(2 * len(first)))
    whole.states[:, -1] = -1
    coefficients = dual.bound(whole).coefficients
    half = dual.shared & (coefficients < 0) & (whole.states == 0)
    whole = whole._replace(slopes=torch.where(half, 0.5, whole.slopes))
    before = dual.slices[number].start
    alone = Dual(layers, margin, region, torch.float32)
    size = alone.bound(alone.root(torch.zeros(1, dtype=torch.int64))).coefficients[:, :before].abs().amax()
    unit = coefficients[:, :before].abs().amax(dim=1, keepdim=True) / size.clamp(min=1e-30)
    best, bound = dual.ascend(whole, _SCHEDULE, unit.expand_as(coefficients))
    relevant = (bound.coefficients > 0) | dual.shared
    found = Conditional(
        node=reduced.bounds.graph[layer.node].inputs[0],
        neurons=neurons,
        multipliers=best.multipliers[:, -1].double(),
        slopes=lines_around(reduced, layers, rounded(best.slopes * relevant)[:, :-1], best.states[:, :-1]),
    )
    return found, dual.passes + alone.passes


def _constraint(margin: Functions, level: float) -> Layer:
    """Return margin - level as a rectifier's input."""
    one, nothing = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    functions = margin._replace(constant=margin.constant - level)
    return Layer(node="", places=nothing.long(), kinks=nothing, weights=one, low=-one, high=one, functions=functions)
