"""The slopes of lines around bent nodes, given those of the rectifiers that these are sums of."""

from collections.abc import Sequence

import torch
from torch import Tensor

from epsball.certificates.branching.relaxation.reduced import Layer, Reduced
from epsball.certificates.branching.tree import Slopes


def lines_around(reduced: Reduced, layers: Sequence[Layer], chosen: Tensor, states: Tensor) -> dict[str, Slopes]:
    """Return the slopes of the lines around each bent node, given the slopes and states (L, m) of all rectifiers."""
    start, found = 0, {}
    for layer in layers:
        at = slice(start, start + len(layer))
        found[layer.node] = _lines(layer, chosen[:, at], states[:, at], reduced)
        start += len(layer)
    return found


def _lines(layer: Layer, chosen: Tensor, states: Tensor, reduced: Reduced) -> Slopes:
    """Return the slopes of lines around a node's value, given those of its rectifiers."""
    places = layer.places.unique()
    at = torch.searchsorted(places, layer.places)
    free, on = states == 0, (states > 0).double()
    chord = layer.chord[0]
    folded = reduced.folded(layer.node)[places].expand(len(chosen), -1)
    positive = layer.weights > 0
    nearer, farther = torch.where(free, chosen, on), torch.where(free, chord, on)
    if len(places) == len(layer):
        # A single kink that is decided leaves a line, whose slope is not read; nor has it a share of an envelope.
        nearer = nearer * free
    lower = folded.clone().index_add_(1, at, layer.weights * torch.where(positive, nearer, farther))
    upper = folded.clone().index_add_(1, at, layer.weights * torch.where(positive, farther, nearer))
    return Slopes(places=places, lower=lower.half(), upper=None if bool(positive.all()) else upper.half())
