"""TRADES: natural loss plus beta times the divergence to the worst neighbour."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from epsball.attacks.losses import kl
from epsball.attacks.parts import step_size as rules
from epsball.ball import Ball
from epsball.checks import check_weight
from epsball.errors import InputError
from epsball.module_state import evaluating
from epsball.training.objectives.inner_search import InnerSearch, StartName
from epsball.training.objectives.objective import Adversarial, Context, Losses


@dataclass(frozen=True, kw_only=True)
class TRADES(Adversarial):
    """Minimise CE(h(x), y) + beta * max over x' in N(x) of KL(h(x) || h(x')), beta = 1/lambda.

    The inner target h(x) is computed once, in evaluation mode. The divergence has gradient zero
    at x' = x, so the ascent starts from x + 0.001 * N(0, I). The outer gradient flows through
    both arguments of the divergence.

    Batch-norm policy, *joint*: clean and adversarial inputs go through the module in one pass in
    training mode, so that both are normalised by the statistics of the two together and the
    running statistics take one update per step. The published code makes two passes.

    Parameters
    ----------
    ball
        The perturbation set trained for, of any norm.
    beta
        Weight of the divergence, 1/lambda; at least 0.
    steps, step_size, start
        As for `PGD`; start ``"none"`` is refused.

    Examples
    --------
    >>> import epsball as eb
    >>> ball = eb.Ball("l2", 0.5)
    >>> eb.training.resolve("trades,beta=1", ball) == eb.training.TRADES(ball=ball, beta=1.0)
    True

    References
    ----------
    Zhang et al., "Theoretically principled trade-off between robustness and accuracy", ICML
    2019, eq. (5) and algorithm 1.
    """

    name: ClassVar[str] = "trades"
    certified_end: ClassVar[Mapping[str, str]] = {"beta": "high"}

    ball: Ball
    beta: float = 6.0
    steps: int = 10
    step_size: rules.StepSize = rules.DEFAULT
    start: StartName = "gaussian"

    def __post_init__(self) -> None:
        check_weight("beta", self.beta)
        if self.start == "none":
            raise InputError("start is 'none'; KL(h(x) || h(x')) has gradient zero at x' = x. Use 'gaussian'.")
        InnerSearch.of(self)

    def search(self, module: nn.Module, x: Tensor, y: Tensor, context: Context) -> Tensor:
        """Return points of large KL(h(x) || h(x'))."""
        with evaluating(module), torch.no_grad():
            target = module(x)
        return InnerSearch.of(self)(module, lambda logits: kl(logits, target), x, context)

    def losses(self, module: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor, context: Context) -> Losses:
        """Return CE(h(x), y) + beta * KL(h(x) || h(x_adv))."""
        natural, adversarial = module(torch.cat([x, x_adv])).tensor_split(2)
        fit, divergence = context.cross_entropy(natural, y), kl(adversarial, reference=natural)
        parts = {"natural": fit.detach(), "divergence": divergence.detach()}
        return Losses(examples=fit + self.beta * divergence, parts=parts)
