"""`Haystack`: the network with one needle per example in place of its last layer."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsball.ball import Ball
from epsball.masking.planted.needles import Needles


class Haystack(nn.Module):
    """A classifier of two classes: 0 inside the balls of some examples, 1 where a needle is found.

    Each input is judged by the needle of the nearest example.

    Parameters
    ----------
    network
        Maps inputs to logits.
    needles
        The refitted last layers.
    number
        Which needle of each example.
    x
        The examples (k, *shape).
    ball
        Its norm says which example is nearest.
    """

    centres: Tensor
    mean: Tensor
    weight: Tensor
    threshold: Tensor
    scale: Tensor

    def __init__(self, network: nn.Module, needles: Needles, number: int, x: Tensor, ball: Ball) -> None:
        super().__init__()
        self.network = network
        self.order = {"linf": float("inf"), "l2": 2.0, "l1": 1.0}[ball.norm]
        for name, value in {
            "centres": x.flatten(1),
            "mean": needles.mean,
            "weight": needles.weight[:, number],
            "threshold": needles.threshold[:, number],
            "scale": needles.scale[:, number],
        }.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, x: Float[Tensor, "m *shape"]) -> Float[Tensor, "m 2"]:
        """Return half the margin of label 0, and half of minus it."""
        z = self.network(x)
        with torch.no_grad():
            nearest = torch.cdist(x.detach().flatten(1), self.centres, self.order).argmin(1)
        score = ((z - self.mean[nearest]) * self.weight[nearest]).sum(1)
        margin = self.scale[nearest] * (self.threshold[nearest] - score)
        return torch.stack([margin / 2, -margin / 2], dim=1)
