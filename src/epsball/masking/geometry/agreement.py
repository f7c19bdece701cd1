"""Agreement of neighbours' gradients: whether the gradient at x says anything about the ball."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from epsball.ball import Ball
from epsball.checks import check_count
from epsball.masking.geometry.expansion import inner
from epsball.masking.geometry.surface import Surface
from epsball.randomness import Keys


@dataclass(frozen=True, kw_only=True, eq=False)
class Agreement:
    """How the gradient at x compares with those at neighbours; one entry per example.

    Parameters
    ----------
    cosine
        Mean cosine over the neighbours; NaN where a gradient is zero or not finite.
    signs
        Mean share of coordinates with the same sign, of those where neither is zero; NaN where there is none.
    """

    cosine: Float64[Tensor, " n"]
    signs: Float64[Tensor, " n"]


def gradient_agreement(surface: Surface, ball: Ball, keys: Keys, *, neighbours: int = 8) -> Agreement:
    """Return the agreement of grad f(x) with the gradients at points drawn uniformly from the ball.

    Both are 1 for a linear function; directions without relation have cosine 0 and share about one half of
    the signs.

    Parameters
    ----------
    surface
        f and x.
    ball
        The perturbation set.
    keys
        One key per example.
    neighbours
        Points per example, one gradient each.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> from epsball.masking.geometry import Surface, gradient_agreement
    >>> from epsball.randomness import Keys
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.75, 0.25]]), torch.tensor([0])
    >>> with classifier.in_use():
    ...     found = gradient_agreement(
    ...         Surface.of(classifier, x, y, "margin"), eb.Ball("linf", "1/8"), Keys.of_examples(x, y, 0)
    ...     )
    >>> round(float(found.cosine), 6), float(found.signs)
    (1.0, 1.0)
    """
    check_count("neighbours", neighbours)
    around = ball.at(surface.x)
    _, here = surface.gradients(surface.x)
    cosines, signs = [], []
    for neighbour in range(neighbours):
        _, there = surface.gradients(around.sample(keys.derive("agreement", neighbour)))
        cosines.append(_cosine(here, there))
        signs.append(_same_signs(here, there))
    return Agreement(cosine=torch.stack(cosines).mean(0), signs=torch.stack(signs).mean(0))


def _cosine(a: Float[Tensor, "n *shape"], b: Float[Tensor, "n *shape"]) -> Float64[Tensor, " n"]:
    """Return <a, b> / (norm(a) norm(b)), of vectors scaled first: squares of small gradients underflow."""
    a, b = _scaled(a), _scaled(b)
    return inner(a, b) / (inner(a, a).sqrt() * inner(b, b).sqrt())


def _scaled(v: Tensor) -> Tensor:
    return v.flatten(1).double() / v.flatten(1).abs().amax(1, keepdim=True).double()


def _same_signs(a: Tensor, b: Tensor) -> Float64[Tensor, " n"]:
    product = a.flatten(1).sign() * b.flatten(1).sign()
    return (product > 0).sum(1).double() / (product != 0).sum(1)
