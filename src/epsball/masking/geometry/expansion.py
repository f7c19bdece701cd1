"""Eq. (3) of the chapter against the true change: first and second-order terms of a displacement."""

from dataclasses import dataclass

from jaxtyping import Float, Float64
from torch import Tensor

from epsball.masking.geometry.surface import Surface


@dataclass(frozen=True, kw_only=True, eq=False)
class Expansion:
    """f(x + d) - f(x), and what eq. (3) says it is, one entry per example.

    Parameters
    ----------
    change
        f(x + d) - f(x).
    first
        grad f(x)^T d.
    second
        d^T H d / 2.
    """

    change: Float64[Tensor, " n"]
    first: Float64[Tensor, " n"]
    second: Float64[Tensor, " n"]

    @property
    def remainder(self) -> Float64[Tensor, " n"]:
        """What both terms leave of the change; 0 for a quadratic."""
        return self.change - self.first - self.second


def inner(a: Float[Tensor, "n *shape"], b: Float[Tensor, "n *shape"]) -> Float64[Tensor, " n"]:
    """Return <a, b> row by row, in float64."""
    return (a.flatten(1).double() * b.flatten(1).double()).sum(1)


def expansion(surface: Surface, points: Float[Tensor, "n *shape"], share: float = 1.0) -> Expansion:
    """Return change, first and second-order term for the displacements d = points - x.

    f(x + d) = f(x) + grad f(x)^T d + d^T H d / 2, where the logits of a ReLU network have H = 0 almost
    everywhere. So H d is the change of the gradient over a finite way, (grad f(x + s d) - grad f(x)) / s: H d
    of the Hessian's mean over the way. Both points lie in N(x) if x + d does, since N(x) is convex.

    Parameters
    ----------
    surface
        f and x.
    points
        x + d, one per example.
    share
        s, the share of the displacement over which the gradient's change is taken.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> from epsball.masking.geometry import Surface, expansion
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.75, 0.25]]), torch.tensor([0])
    >>> surface = Surface.of(classifier, x, y, lambda logits, y: logits.square().sum(1) / 2)
    >>> with classifier.in_use():
    ...     found = expansion(surface, x - 0.25)
    >>> float(found.change), float(found.first), float(found.second)
    (-0.1875, -0.25, 0.0625)
    """
    x = surface.x
    value, gradient = surface.gradients(x)
    d = points.double() - x.double()
    change = surface.values(points) - value
    # The displacement that is taken, not the one asked for: x + s d is rounded.
    between = points if share == 1.0 else (x.double() + share * d).to(x.dtype)
    taken = between.double() - x.double()
    _, there = surface.gradients(between)
    slope = inner(there.double() - gradient.double(), d)
    return Expansion(change=change, first=inner(gradient, d), second=slope / _share_of(taken, d) / 2)


def _share_of(taken: Tensor, d: Tensor) -> Float64[Tensor, " n"]:
    """Return the length of the way taken in units of d; 1 where d is 0."""
    length = inner(d, d)
    return (inner(taken, d) / length.clamp_min(1e-300)).where(length > 0, length.new_ones(()))
