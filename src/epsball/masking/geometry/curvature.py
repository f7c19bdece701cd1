"""Curvature at the scale of the radius: power iteration on differences of gradients."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from epsball.attacks.parts.tensors import column, unit
from epsball.ball import Ball
from epsball.ball.norm import length, rows_of
from epsball.checks import check_count
from epsball.masking.geometry.expansion import inner
from epsball.masking.geometry.surface import Surface
from epsball.randomness import Keys


@dataclass(frozen=True, kw_only=True, eq=False)
class Curvature:
    """The largest curvature found, and along what; one entry per example.

    Parameters
    ----------
    value
        s^T (grad f(a) - grad f(b)) / s^T s for the pair a, b with s = a - b, signed: in units of f per squared
        l2 length.
    direction
        s over its l2 length; 0 where the gradient did not change at all.
    half_length
        norm_2(s) / 2: from x to either point, where both lie alike.
    """

    value: Float64[Tensor, " n"]
    direction: Float[Tensor, "n *shape"]
    half_length: Float64[Tensor, " n"]

    @property
    def effect(self) -> Float64[Tensor, " n"]:
        """The second-order term of that displacement, value * half_length^2 / 2, in units of f."""
        return self.value * self.half_length.square() / 2


def curvature(surface: Surface, ball: Ball, keys: Keys, *, steps: int = 10) -> Curvature:
    """Return the largest absolute curvature found by power iteration at the scale of the radius.

    ReLU networks have zero Hessian almost everywhere, so nothing is differentiated twice. From a random v, at
    each step, with r the ball's radius and P the projection onto ball and box,

        a = P(x + r v / norm(v)),  b = P(x - r v / norm(v)),  s = a - b,  H s = grad f(a) - grad f(b),

    s^T H s / s^T s is the curvature between two points of N(x), and v = H s the next direction. For a
    quadratic H is its Hessian; where the box cuts nothing off, v converges to the eigenvector of largest
    absolute eigenvalue. The largest value seen is kept, so that it never exceeds the true one of a quadratic.

    Parameters
    ----------
    surface
        f and x.
    ball
        The perturbation set.
    keys
        One key per example.
    steps
        Of the iteration; each takes two gradients per example.

    References
    ----------
    Moosavi-Dezfooli et al., "Robustness via curvature regularization, and vice versa", CVPR 2019 (differences of
    gradients in place of Hessian-vector products).

    Examples
    --------
    >>> import torch, epsball as eb
    >>> from epsball.masking.geometry import Surface, curvature
    >>> from epsball.randomness import Keys
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.full((1, 4), 0.5), torch.tensor([0])
    >>> surface = Surface.of(classifier, x, y, lambda logits, y: -1.5 * logits[:, 0].square())
    >>> with classifier.in_use():
    ...     found = curvature(surface, eb.Ball("l2", "1/4"), Keys.of_examples(x, y, 0))
    >>> round(float(found.value), 4)
    -3.0
    """
    check_count("steps", steps)
    x, around = surface.x, ball.at(surface.x)
    order = around.norm.order
    v = keys.derive("curvature").normal(x.shape[1:], x.dtype)
    value = x.new_zeros(len(x), dtype=torch.float64)
    kept = torch.zeros_like(x)
    half = torch.zeros_like(value)
    for _ in range(steps):
        reach = unit(v)
        norm = length(rows_of(reach).double(), order)
        step = reach * column(around.radius / norm.masked_fill(norm == 0, 1.0), x)
        a, b = around.project(x + step), around.project(x - step)
        s = a.double() - b.double()
        _, slopes = surface.gradients(torch.cat([a, b]), torch.arange(len(x), device=x.device).repeat(2))
        hs = slopes[: len(x)].double() - slopes[len(x) :].double()
        squared = inner(s, s)
        found = (inner(s, hs) / squared).where(squared > 0, 0.0)
        larger = found.abs() > value.abs()
        value = torch.where(larger, found, value)
        kept = torch.where(column(larger, x), unit(s).to(x.dtype), kept)
        half = torch.where(larger, squared.sqrt() / 2, half)
        moving = inner(hs, hs) > 0
        v = torch.where(column(moving, x), unit(hs).to(x.dtype), v)
    return Curvature(value=value, direction=kept, half_length=half)
