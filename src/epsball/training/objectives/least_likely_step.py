"""One step towards the least likely class, of a random length: what `KGB17` and `Cascade` train on."""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from epsball.attacks.losses import cross_entropy
from epsball.attacks.parts import starts
from epsball.ball import Ball
from epsball.randomness import Keys
from epsball.training.objectives.inner_search import maximise, shrunk
from epsball.training.objectives.objective import Context


def towards_least_likely(
    module: nn.Module, x: Float[Tensor, "n *shape"], ball: Ball, context: Context
) -> Float[Tensor, "n *shape"]:
    """Return P(x + e v): v the steepest direction towards the least likely class, e drawn for each example.

    e = |N(0, radius/2)| cut off at the radius; P projects onto ball and box. The label of the
    least likely class leaks less of the true one than a step away from it would.

    References
    ----------
    Kurakin, Goodfellow and Bengio, "Adversarial machine learning at scale", ICLR 2017, sections 2 and 3.
    """
    ball = shrunk(ball, context.share)
    length = float(ball.radius) * _half_normal(context.keys.derive("radius"))
    return maximise(
        module,
        lambda logits: -cross_entropy(logits, _least_likely(logits.detach())),
        x,
        ball,
        step_sizes=[length.to(x.dtype).view(-1, *(1,) * (x.ndim - 1))],
        start=starts.centre,
        keys=context.keys,
    )


def _least_likely(logits: Float[Tensor, "n classes"]) -> Int64[Tensor, " n"]:
    """Return the class of the lowest logit that is not masked by -infinity."""
    return logits.masked_fill(logits == -torch.inf, torch.inf).argmin(1)


def _half_normal(keys: Keys) -> Float[Tensor, " n"]:
    """Return |g| given |g| <= 1, g ~ N(0, 1/4): P(|g| <= t) = erf(t sqrt 2) / erf(sqrt 2)."""
    u = keys.uniform(())
    return torch.erfinv(u * math.erf(math.sqrt(2.0))) / math.sqrt(2.0)
