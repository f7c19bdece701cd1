"""The numbers beside the picture: what the gradient at x says about the ball, and how wrong that is."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from epsball.errors import NoGradientError
from epsball.masking.geometry import curvature, expansion, gradient_agreement, local_linearity
from epsball.masking.geometry.surface import FunctionName, Surface
from epsball.masking.landscape.subject import Subject


@dataclass(frozen=True, kw_only=True, eq=False)
class Numbers:
    """Numbers about one function f of the input, the margin or the cross-entropy; one entry per example.

    All are NaN where the model passes no gradient.

    Parameters
    ----------
    value
        f(x).
    gradient_norm
        radius * dual norm of grad f(x): the largest first-order change that the norm allows.
    change, first, second
        f(x + d) - f(x) to FGSM's point x + d, and the two terms of eq. (3) for it.
    gamma
        The largest abs(f(x + d) - f(x) - d^T grad f(x)) found in N(x).
    curvature
        The largest curvature found at the scale of the radius, signed, per squared l2 length.
    bend
        The second-order term that it makes over its own displacement, in units of f.
    cosine, signs
        Agreement of grad f(x) with gradients at random points of N(x).
    """

    value: Float64[Tensor, " n"]
    gradient_norm: Float64[Tensor, " n"]
    change: Float64[Tensor, " n"]
    first: Float64[Tensor, " n"]
    second: Float64[Tensor, " n"]
    gamma: Float64[Tensor, " n"]
    curvature: Float64[Tensor, " n"]
    bend: Float64[Tensor, " n"]
    cosine: Float64[Tensor, " n"]
    signs: Float64[Tensor, " n"]

    def columns(self) -> dict[str, Float64[Tensor, " n"]]:
        """Return the numbers by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def numbers(
    subject: Subject, points: Float[Tensor, "n *shape"], given: Float[Tensor, "n *shape"]
) -> dict[FunctionName, Numbers]:
    """Return the numbers of the margin and of the cross-entropy.

    Parameters
    ----------
    subject
        Examples, model and ball.
    points
        x + d of the expansion.
    given
        Points of N(x) that local linearity is measured at too.
    """
    surfaces: dict[FunctionName, Surface] = {"margin": subject.margin, "cross-entropy": subject.cross_entropy}
    return {name: _numbers(subject, surface, points, given) for name, surface in surfaces.items()}


def _numbers(subject: Subject, surface: Surface, points: Tensor, given: Tensor) -> Numbers:
    ball, keys = subject.ball, subject.keys
    try:
        terms = expansion(surface, points)
        linearity = local_linearity(surface, ball, keys, given=given)
        bend = curvature(surface, ball, keys)
        agreement = gradient_agreement(surface, ball, keys)
    except NoGradientError:
        return _unknown(surface, points)
    found = Numbers(
        value=surface.values(surface.x),
        gradient_norm=linearity.first,
        change=terms.change,
        first=terms.first,
        second=terms.second,
        gamma=linearity.gamma,
        curvature=bend.value,
        bend=bend.effect,
        cosine=agreement.cosine,
        signs=agreement.signs,
    )
    return Numbers(**{name: values.cpu() for name, values in found.columns().items()})


def _unknown(surface: Surface, points: Tensor) -> Numbers:
    """Return the two numbers that need no gradient."""
    value = surface.values(surface.x)
    change = surface.values(points) - value
    nothing = {field.name: torch.full_like(value, torch.nan).cpu() for field in fields(Numbers)}
    return Numbers(**{**nothing, "value": value.cpu(), "change": change.cpu()})
