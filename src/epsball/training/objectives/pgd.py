"""PGD adversarial training."""

from dataclasses import dataclass

from torch import Tensor, nn

from epsball.attacks.losses import cross_entropy
from epsball.attacks.parts import step_size as rules
from epsball.ball import Ball
from epsball.training.objectives.inner_search import Search
from epsball.training.objectives.objective import Context, Losses


@dataclass(frozen=True, kw_only=True)
class PGD:
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

    References
    ----------
    Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018.
    """

    ball: Ball
    steps: int = 10
    step_size: rules.StepSize = rules.DEFAULT
    start: str = "uniform"

    def __post_init__(self) -> None:
        self._inner()

    @property
    def name(self) -> str:
        """The name under which it is registered."""
        return "pgd"

    def __call__(self, module: nn.Module, x: Tensor, y: Tensor, context: Context) -> Losses:
        """Return the cross-entropy at the adversarial points."""
        return self.losses(module, x, self.search(module, x, y, context), y, context)

    def search(self, module: nn.Module, x: Tensor, y: Tensor, context: Context) -> Tensor:
        """Return points of large cross-entropy."""
        return self._inner()(module, lambda logits: cross_entropy(logits, y), x, context)

    def losses(self, module: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor, context: Context) -> Losses:
        """Return the cross-entropy at `x_adv`."""
        return Losses(examples=context.cross_entropy(module(x_adv), y))

    def _inner(self) -> Search:
        return Search(ball=self.ball, steps=self.steps, step_size=self.step_size, start=self.start)
