"""Standard training: cross-entropy at the examples themselves."""

from dataclasses import dataclass

from torch import Tensor, nn

from epsball.training.objectives.objective import Context, Losses


@dataclass(frozen=True, kw_only=True)
class Standard:
    """Minimise -log softmax(h(x))_y."""

    @property
    def name(self) -> str:
        """The name under which it is registered."""
        return "standard"

    def __call__(self, module: nn.Module, x: Tensor, y: Tensor, context: Context) -> Losses:
        """Return the cross-entropy of each example."""
        return self.losses(module, x, self.search(module, x, y, context), y, context)

    def search(self, module: nn.Module, x: Tensor, y: Tensor, context: Context) -> Tensor:
        """Return the examples themselves."""
        return x

    def losses(self, module: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor, context: Context) -> Losses:
        """Return the cross-entropy at `x_adv`."""
        return Losses(examples=context.cross_entropy(module(x_adv), y))
