"""`Setting`: what a search of some rows stands on beside the bounds of their example."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from epsball.certificates.box import Box
from epsball.certificates.branching.relaxation.reduced import Layer
from epsball.certificates.branching.tightening.envelopes import ProvedEnvelope
from epsball.certificates.branching.tree import Conditional, Taus


@dataclass(frozen=True, kw_only=True, eq=False)
class Setting:
    """The layers and boxes of a search, its envelopes, and under which condition these hold.

    Parameters
    ----------
    layers, boxes
        The reduced network's layers, and bounds on every node.
    taus, envelopes
        By node the envelopes as trees hold them, and as they are proved.
    further
        By the number of a branch's envelopes, less one, the same for others than the first.
    conditional, level
        Neurons bounded where the row's margin is at most the level, and that level; None without such neurons.
    """

    layers: Sequence[Layer]
    boxes: Mapping[str, Box]
    taus: Mapping[str, Taus] = field(default_factory=dict)
    envelopes: Mapping[str, ProvedEnvelope] = field(default_factory=dict)
    further: list[tuple[Mapping[str, Taus], Mapping[str, ProvedEnvelope]]] = field(default_factory=list)
    conditional: Sequence[Conditional] = ()
    level: float | None = None

    def having(self, part: Conditional, number: int, low: Tensor, high: Tensor) -> "Setting":
        """Return the setting with new bounds of some neurons, (k,), which a layer takes, where these are better."""
        box = self.boxes[part.node]
        at_low, at_high = (end.flatten()[part.neurons] for end in box)
        low = torch.maximum(at_low, low)
        # Bounds that contradict each other show that the condition is met nowhere: then any hold.
        high = torch.maximum(torch.minimum(at_high, high), low)
        boxes = dict(self.boxes)
        boxes[part.node] = Box(*(_with(end, part.neurons, new) for end, new in zip(box, (low, high), strict=True)))
        layers = list(self.layers)
        old = layers[number]
        ends = (end.flatten()[old.places] - old.kinks for end in boxes[part.node])
        layers[number] = replace(old, **dict(zip(("low", "high"), ends, strict=True)))
        return replace(self, layers=layers, boxes=boxes, conditional=(*self.conditional, part))


def _with(end: Tensor, neurons: Tensor, new: Tensor) -> Tensor:
    return end.flatten().index_copy(0, neurons, new).view(end.shape)
