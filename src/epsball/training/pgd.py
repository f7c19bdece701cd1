"""PGD adversarial training."""

from dataclasses import dataclass

from torch import Tensor, nn

from epsball.attacks import starts
from epsball.attacks import steps as rules
from epsball.attacks.losses import cross_entropy
from epsball.ball import Ball
from epsball.errors import InputError
from epsball.training.inner import maximise
from epsball.training.objective import Context, Losses


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
        if not isinstance(self.steps, int) or self.steps < 1:
            raise InputError(f"steps is {self.steps!r}; it must be a whole number, at least 1.")
        if self.ball.radius == 0:
            raise InputError("the radius is 0: that is standard training. Use the objective 'standard'.")
        starts.resolve(self.start)

    @property
    def name(self) -> str:
        """The name under which it is registered."""
        return "pgd"

    def __call__(self, module: nn.Module, x: Tensor, y: Tensor, context: Context) -> Losses:
        """Return the cross-entropy at the adversarial points."""
        x_adv = maximise(
            module,
            lambda logits: cross_entropy(logits, y),
            x,
            self.ball,
            step_sizes=[rules.step_size(self.step_size, self.ball, self.steps)] * self.steps,
            start=starts.resolve(self.start),
            keys=context.keys.derive(self.name),
        )
        return Losses(examples=cross_entropy(module(x_adv), y))
