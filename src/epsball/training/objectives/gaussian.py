"""Training under Gaussian noise, for a classifier that will be smoothed; with consistency of its answers."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from epsball.checks import check_count, check_positive, check_weight
from epsball.errors import InputError
from epsball.training.objectives.objective import Context, Losses

_LEAST = -1e4
"""Logarithm of a probability that is 0 in every float."""


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """Minimise CE at noisy copies of x, and how far the answers at the copies lie apart.

    With m copies x_i = x + N(0, sigma^2 I), p_i = softmax h(x_i) and their mean p,

        1/m sum_i CE(h(x_i), y) + consistency * 1/m sum_i KL(p || p_i) + entropy * H(p),

    with gradients through p and p_i alike. One copy and neither term is the augmentation of Cohen et al. The copies
    are not clipped to the box: `epsball.smooth` adds noise in the same way.

    Parameters
    ----------
    sigma
        Standard deviation of the noise, in pixels; that of the smoothing to come.
    copies
        Noisy copies per example, m.
    consistency, entropy
        Weights of the two terms, lambda and eta in the paper; each at least 0. Consistency needs two copies or more.

    Examples
    --------
    >>> import epsball as eb
    >>> eb.training.resolve("gaussian,sigma=0.5,consistency=10,entropy=0.5", None).copies
    2

    References
    ----------
    Cohen, Rosenfeld and Kolter, "Certified adversarial robustness via randomized smoothing", ICML 2019. Jeong and
    Shin, "Consistency regularization for certified robustness of smoothed classifiers", NeurIPS 2020, eqs. (6), (7).
    """

    name: ClassVar[str] = "gaussian"

    sigma: float = 0.25
    copies: int = 2
    consistency: float = 0.0
    entropy: float = 0.0

    def __post_init__(self) -> None:
        check_positive("sigma", self.sigma)
        check_count("copies", self.copies, unit="noisy copies per example")
        check_weight("consistency", self.consistency)
        check_weight("entropy", self.entropy)
        if self.consistency and self.copies == 1:
            raise InputError(
                f"consistency is {self.consistency}, but one copy always agrees with itself; take copies=2."
            )

    def __call__(self, module: nn.Module, x: Tensor, y: Tensor, context: Context) -> Losses:
        """Return the losses at the noisy copies."""
        m, noise = self.copies, context.keys.derive("noise").normal((self.copies, *x.shape[1:]), x.dtype)
        noisy = (x[:, None] + self.sigma * noise).flatten(0, 1)
        logits = module(noisy)
        fit = context.cross_entropy(logits, y.repeat_interleave(m)).view(-1, m).mean(1)
        # A class that is masked, or whose probability underflows, contributes 0 and no NaN.
        log_p_i = logits.log_softmax(1).clamp(min=_LEAST).unflatten(0, (-1, m))
        log_p = log_p_i.logsumexp(1) - math.log(m)
        p = log_p.exp()
        apart = (p * (log_p - log_p_i.mean(1))).sum(1)
        entropy = -(p * log_p).sum(1)
        parts = {"noisy": fit.detach(), "inconsistency": apart.detach()}
        return Losses(examples=fit + self.consistency * apart + self.entropy * entropy, parts=parts)
