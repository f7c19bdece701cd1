"""Where the attack came nearest to breaking the examples that stand: steps of eight bits, to be tried elsewhere."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32, Int8, Int64
from torch import Tensor

_LEVELS = 127


@dataclass(frozen=True, kw_only=True, eq=False)
class NearestPoints:
    """The point of lowest margin of examples that stand, rounded: a candidate for other networks, no evidence.

    Parameters
    ----------
    index
        Positions of the examples in the source.
    step
        The step from each example, in units of `scale`.
    scale
        A 127th of the longest entry of each step.
    """

    index: Int64[Tensor, " m"]
    step: Int8[Tensor, "m *shape"]
    scale: Float32[Tensor, " m"]

    @classmethod
    def of(
        cls, index: Int64[Tensor, " m"], x: Float[Tensor, "m *shape"], x_adv: Float[Tensor, "m *shape"]
    ) -> "NearestPoints":
        """Return the points as steps from the examples."""
        step = (x_adv - x).float()
        scale = step.flatten(1).abs().amax(1) / _LEVELS if len(step) else step.new_zeros(0)
        unit = torch.where(scale > 0, scale, 1.0).view(-1, *[1] * (step.ndim - 1))
        return cls(index=index, step=(step / unit).round().to(torch.int8), scale=scale)

    def at(self, rows: Int64[Tensor, " k"], x: Float[Tensor, "k *shape"]) -> Float[Tensor, "k *shape"]:
        """Return the points of some rows about their examples; they may lie a rounding outside a ball."""
        scale = self.scale[rows].view(-1, *[1] * (x.ndim - 1))
        return x + (self.step[rows] * scale).to(x)
