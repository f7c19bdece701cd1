"""TAPS and STAPS: intervals in the first part of the network, an attack in the last."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from epsball.certificates import Propagation
from epsball.checks import check_count, check_positive
from epsball.errors import InputError
from epsball.training.objectives.certified.batch_bounds import BatchBounds
from epsball.training.objectives.certified.certified import Certified
from epsball.training.objectives.certified.latent import latent_margins, latent_node, latent_points
from epsball.training.objectives.certified.sabr import SABR


@dataclass(frozen=True, kw_only=True)
class TAPS(Certified):
    """Minimise L_TAPS * L_IBP, each the cross-entropy of logits of the worst case.

    Intervals reach an inner layer; in their box there, for every class j, gradient descent finds a point of small
    z_y - z_j: L_TAPS takes the margins at these points in place of bounds. It is below the true worst case of that
    part, L_IBP above, and what they miss of each other partly cancels. Gradients of L_TAPS reach the ends of the box
    from points near them, and count `scale` times. While the radius rises the loss is L_IBP alone.

    Parameters
    ----------
    latent
        How many rectifiers lie behind the layer whose box is searched; with 0 the rest is affine.
    latent_steps
        Steps of that search.
    threshold
        Share of the box's width within which a point has a gradient to an end, in (0, 1/2].
    scale
        Factor of the gradient of L_TAPS.

    Examples
    --------
    >>> import epsball as eb
    >>> ball = eb.Ball("linf", "2/255")
    >>> eb.training.resolve("taps,latent=2", ball) == eb.training.TAPS(ball=ball, latent=2)
    True

    References
    ----------
    Mao, Mueller, Fischer and Vechev, "Connecting certified and adversarial training" (NeurIPS 2023).
    """

    name: ClassVar[str] = "taps"

    kappa_start: float = 0.0
    kappa: float = 0.0
    latent: int = 1
    latent_steps: int = 8
    threshold: float = 0.5
    scale: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.latent, int) or self.latent < 0:
            raise InputError(f"latent is {self.latent!r}; it is a number of rectifiers, at least 0.")
        check_count("latent_steps", self.latent_steps)
        check_positive("scale", self.scale)
        if not 0 < self.threshold <= 0.5:
            raise InputError(f"threshold is {self.threshold}; it is a share of a box's width, in (0, 0.5].")

    def robust(self, batch: BatchBounds) -> tuple[Tensor, Propagation]:
        """Return L_TAPS * L_IBP."""
        live = batch.live
        name = latent_node(live, self.latent)
        bounds = batch.propagate(self.boxes(batch))
        by_intervals = batch.loss(batch.interval(bounds))
        if batch.progress < 1.0:
            return by_intervals, bounds
        rows, box = live.problem(bounds.domain, batch.y).specification, bounds.boxes[name]
        keys = batch.context.keys.derive("latent")
        points = latent_points(live, name, box, rows, batch.parameters, steps=self.latent_steps, keys=keys)
        margins = latent_margins(live, name, box, points, rows, batch.parameters, self.threshold)
        return scaled_gradient(batch.loss(margins), self.scale) * by_intervals, bounds


@dataclass(frozen=True, kw_only=True)
class STAPS(TAPS, SABR):
    """TAPS over the small boxes of SABR.

    Examples
    --------
    >>> import epsball as eb
    >>> ball = eb.Ball("linf", "2/255")
    >>> eb.training.resolve("staps,subselection=0.7", ball) == eb.training.STAPS(ball=ball, subselection=0.7)
    True

    References
    ----------
    Mao, Mueller, Fischer and Vechev, "Connecting certified and adversarial training" (NeurIPS 2023), section 3.4.
    """

    name: ClassVar[str] = "staps"


def scaled_gradient(value: Tensor, factor: float) -> Tensor:
    """Return the value, its gradient multiplied by a factor.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor(2.0, requires_grad=True)
    >>> scaled_gradient(x, 3.0).backward()
    >>> x.grad
    tensor(3.)
    """
    return value.detach() + factor * (value - value.detach())
