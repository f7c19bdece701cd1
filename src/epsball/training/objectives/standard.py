"""Standard training: cross-entropy at the examples themselves."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from epsball.training.objectives.objective import Adversarial, Context, Losses


@dataclass(frozen=True, kw_only=True)
class Standard(Adversarial):
    """Minimise -log softmax(h(x))_y.

    Examples
    --------
    >>> import epsball as eb
    >>> eb.training.resolve("standard", None) == eb.training.Standard()
    True
    """

    name: ClassVar[str] = "standard"

    def search(self, module: nn.Module, x: Tensor, y: Tensor, context: Context) -> Tensor:
        """Return the examples themselves."""
        return x

    def losses(self, module: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor, context: Context) -> Losses:
        """Return the cross-entropy at `x_adv`."""
        return Losses(examples=context.cross_entropy(module(x_adv), y))
