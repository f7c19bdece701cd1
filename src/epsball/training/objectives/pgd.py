"""PGD adversarial training."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from epsball.attacks.losses import cross_entropy
from epsball.attacks.parts import step_size as rules
from epsball.ball import Ball
from epsball.training.objectives.inner_search import InnerSearch, StartName
from epsball.training.objectives.objective import Adversarial, Context, Losses


@dataclass(frozen=True, kw_only=True)
class PGD(Adversarial):
    """Minimise the cross-entropy at x_adv, found by K steps of projected gradient ascent (eq. (2)).

    x_adv is a constant of the outer step; the inner search runs the module in evaluation mode.

    Parameters
    ----------
    ball
        The perturbation set trained for.
    steps
        Number of inner steps K.
    step_size
        A number, or a rule such as ``"2.5*radius/steps"``.
    start
        ``"uniform"``, ``"gaussian"`` or ``"none"``.

    Examples
    --------
    >>> import epsball as eb
    >>> ball = eb.Ball("linf", "8/255")
    >>> eb.training.resolve("pgd,steps=7", ball) == eb.training.PGD(ball=ball, steps=7)
    True

    References
    ----------
    Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018.
    """

    name: ClassVar[str] = "pgd"

    ball: Ball
    steps: int = 10
    step_size: rules.StepSize = rules.DEFAULT
    start: StartName = "uniform"

    def __post_init__(self) -> None:
        InnerSearch.of(self)

    def search(self, module: nn.Module, x: Tensor, y: Tensor, context: Context) -> Tensor:
        """Return points of large cross-entropy."""
        return InnerSearch.of(self)(module, lambda logits: cross_entropy(logits, y), x, context)

    def losses(self, module: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor, context: Context) -> Losses:
        """Return the cross-entropy at `x_adv`."""
        return Losses(examples=context.cross_entropy(module(x_adv), y))
