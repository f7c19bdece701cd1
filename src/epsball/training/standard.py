"""Standard training: cross-entropy at the examples themselves."""

from dataclasses import dataclass

from torch import Tensor, nn

from epsball.attacks.losses import cross_entropy
from epsball.training.objective import Context, Losses


@dataclass(frozen=True, kw_only=True)
class Standard:
    """Minimise -log softmax(h(x))_y."""

    @property
    def name(self) -> str:
        """The name under which it is registered."""
        return "standard"

    def __call__(self, module: nn.Module, x: Tensor, y: Tensor, context: Context) -> Losses:
        """Return the cross-entropy of each example."""
        return Losses(examples=cross_entropy(module(x), y))
