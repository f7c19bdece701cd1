"""Adversarial points inside the network: searched in the intervals of an inner layer, with gradients to its ends."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from epsball.certificates import Box, LiveNetwork
from epsball.errors import InputError
from epsball.graph.kinds import Parameters
from epsball.randomness import Keys
from epsball.training.objectives.certified.regularisers import rectifiers

_LEAST = 1e-5


def latent_node(live: LiveNetwork, layers: int) -> str:
    """Return the rectifier behind which the last `layers` rectifiers lie, by name.

    Raises
    ------
    InputError
        If there is none, or the rest of the network takes more than its value.
    """
    found = [node.name for node in rectifiers(live.graph)]
    if layers >= len(found):
        raise InputError(
            f"latent is {layers}, but the network has {len(found)} rectifiers, and one lies before the layers that are "
            "searched. Give a smaller number."
        )
    name = found[-layers - 1]
    if live.after(name) is None:
        raise InputError(
            f"latent is {layers}, but what lies behind {live.graph[name].origin or name} takes other values too (a "
            "branch around it). Give another number of layers, behind which the network is one chain."
        )
    return name


def latent_points(
    live: LiveNetwork, name: str, box: Box, rows: Tensor, parameters: Parameters, *, steps: int, keys: Keys
) -> Float[Tensor, "n r *shape"]:
    """Return for each row a of the logits a point of the box of an inner node where a . z is small.

    Projected gradient descent from a uniform start, by steps of 2.5 / steps half-widths.

    Parameters
    ----------
    live, name, box
        The network, the inner node, and its box, (n, *shape).
    rows
        (n, r, classes).
    parameters
        Of the network.
    steps, keys
        Number of steps, and one key per example.
    """
    constant = {key: tensor.detach() for key, tensor in parameters.items()}
    low, high = (end.detach().unsqueeze(1) for end in box)
    half = 0.5 * (high - low)
    points = low + 2 * half * keys.uniform((rows.shape[1], *low.shape[2:]), low.dtype)
    for _ in range(steps):
        leaf = points.requires_grad_()
        with torch.enable_grad():
            value = (rows * _logits(live, name, leaf, constant)).sum()
            (gradient,) = torch.autograd.grad(value, leaf)
        points = (points.detach() - 2.5 / steps * half * gradient.sign()).maximum(low).minimum(high)
    return points.detach()


def latent_margins(
    live: LiveNetwork, name: str, box: Box, points: Tensor, rows: Tensor, parameters: Parameters, threshold: float
) -> Float[Tensor, "n r"]:
    """Return a . z at the point of each row a, with gradients to the ends of the box by `GradientLink`."""
    linked = GradientLink.apply(box.low.unsqueeze(1), box.high.unsqueeze(1), points, threshold)
    return (rows * _logits(live, name, linked, parameters)).sum(dim=2)


def _logits(live: LiveNetwork, name: str, points: Any, parameters: Parameters) -> Tensor:
    """Return the logits, (n, r, classes), of points (n, r, *shape) of an inner node."""
    return live.logits_after(name, points.flatten(0, 1), parameters).unflatten(0, points.shape[:2])


class GradientLink(torch.autograd.Function):
    """A point of a box, whose gradient goes to the ends it is near.

    To the upper end u it counts max(0, x - (u - c (u - l))) / (c (u - l)) times, so 1 at u and 0 from a share c of the
    width away; to the lower end likewise. With c = 1/2 every point has a gradient but the middle.

    References
    ----------
    Mao, Mueller, Fischer and Vechev, "Connecting certified and adversarial training" (NeurIPS 2023), section 3.2,
    rectified linear.
    """

    @staticmethod
    def forward(ctx: Any, low: Tensor, high: Tensor, x: Tensor, threshold: float) -> Tensor:
        """Return the point."""
        ctx.save_for_backward(low, high, x)
        ctx.threshold = threshold
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """Return the gradients in both ends, summed over the points of one box."""
        (gradient,) = grad_outputs
        low, high, x = ctx.saved_tensors
        slack = (ctx.threshold * (high - low)).clamp(min=_LEAST)
        to_low = ((low + slack - x) / slack).clamp(0, 1)
        to_high = ((x - (high - slack)) / slack).clamp(0, 1)
        return (gradient * to_low).sum(dim=1, keepdim=True), (gradient * to_high).sum(dim=1, keepdim=True), None, None
