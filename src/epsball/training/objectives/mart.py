"""MART: misclassification-aware adversarial training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from epsball.attacks.losses import cross_entropy, kl
from epsball.attacks.parts import step_size as rules
from epsball.ball import Ball
from epsball.checks import check_weight
from epsball.training.objectives.inner_search import InnerSearch, StartName
from epsball.training.objectives.objective import Adversarial, Context, Losses


def boosted_cross_entropy(logits: Float[Tensor, "n classes"], y: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return -log p_y - log(1 - max_{k != y} p_k), p = softmax(z).

    1 - p_k is the sum of the other probabilities, so its logarithm is a log-sum-exp without k:
    finite also where p_k rounds to 1.
    """
    log_p = logits.log_softmax(1)
    rival = log_p.scatter(1, y[:, None], -torch.inf).argmax(1)
    rest = log_p.scatter(1, rival[:, None], -torch.inf).logsumexp(1)
    return -log_p.gather(1, y[:, None])[:, 0] - rest


@dataclass(frozen=True, kw_only=True)
class MART(Adversarial):
    """Minimise BCE(p(x'), y) + beta * KL(p(x) || p(x')) * (1 - p_y(x)), x' from PGD on the cross-entropy.

    BCE is `boosted_cross_entropy`; the factor 1 - p_y(x) puts the weight on examples the module
    does not yet classify well. Clean and adversarial inputs share one pass (joint batch-norm
    statistics, as `TRADES`). Label smoothing does not apply: BCE is not a cross-entropy.

    Parameters
    ----------
    ball, steps, step_size, start
        As for `PGD`; the published start is ``"gaussian"``.
    beta
        Weight of the divergence (lambda in the paper), at least 0.

    Examples
    --------
    >>> import epsball as eb
    >>> ball = eb.Ball("linf", "8/255")
    >>> eb.training.resolve("mart,start=uniform", ball) == eb.training.MART(ball=ball, start="uniform")
    True

    References
    ----------
    Wang et al., "Improving adversarial robustness requires revisiting misclassified examples",
    ICLR 2020, eq. (11).
    """

    name: ClassVar[str] = "mart"
    certified_end: ClassVar[Mapping[str, str]] = {"beta": "high"}

    ball: Ball
    beta: float = 5.0
    steps: int = 10
    step_size: rules.StepSize = rules.DEFAULT
    start: StartName = "gaussian"

    def __post_init__(self) -> None:
        check_weight("beta", self.beta)
        InnerSearch.of(self)

    def search(self, module: nn.Module, x: Tensor, y: Tensor, context: Context) -> Tensor:
        """Return points of large cross-entropy."""
        return InnerSearch.of(self)(module, lambda logits: cross_entropy(logits, y), x, context)

    def losses(self, module: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor, context: Context) -> Losses:
        """Return BCE(p(x_adv), y) + beta * KL(p(x) || p(x_adv)) * (1 - p_y(x))."""
        natural, adversarial = module(torch.cat([x, x_adv])).tensor_split(2)
        fit, divergence = boosted_cross_entropy(adversarial, y), kl(adversarial, reference=natural)
        unsure = 1.0 - natural.softmax(1).gather(1, y[:, None])[:, 0]
        parts = {"boosted": fit.detach(), "divergence": divergence.detach()}
        return Losses(examples=fit + self.beta * divergence * unsure, parts=parts)
