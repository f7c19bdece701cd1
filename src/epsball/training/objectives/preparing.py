"""`Preparing`: an objective that sees the network before the first step."""

from abc import abstractmethod
from typing import ClassVar, Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor, nn

from epsball.recipe import Recipe
from epsball.training.objectives.objective import Context, Objective


@runtime_checkable
class Preparing(Objective, Protocol):
    """An objective that says before training what it cannot train, and may set the first weights.

    Examples
    --------
    >>> import epsball as eb
    >>> from epsball.training.objectives.preparing import Preparing
    >>> isinstance(eb.training.IBP(ball=eb.Ball("linf", 0.1)), Preparing)
    True
    """

    clip: float = 0.0
    """Largest l2 norm of the gradient of a step, to which longer ones are shortened; 0 is none."""

    mend: ClassVar[str] = "Lower lr"
    """What helps where a loss is not finite, for the message: begins a sentence."""

    @abstractmethod
    def check(
        self,
        module: nn.Module,
        x: Float[Tensor, "n *shape"],
        y: Int64[Tensor, " n"],
        context: Context,
        recipe: Recipe,
    ) -> None:
        """Raise a named error if the module, the data or the recipe cannot be trained on; change nothing."""
        ...

    @abstractmethod
    def begin(self, module: nn.Module, x: Float[Tensor, "n *shape"], y: Int64[Tensor, " n"], context: Context) -> None:
        """Set the first weights, in place; called once per training, in training mode, not when it is resumed."""
        ...
