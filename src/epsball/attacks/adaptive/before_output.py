"""`BeforeOutput`: a network's logits before what squashes them at its end, and searches that see them."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from epsball.attacks.engine.evaluator import BorrowedGradients, Evaluated, Evaluator, Loss


class BeforeOutput(nn.Module):
    """The first result of a network's operations that orders the classes as its output does, row by row.

    Where the last operations do not change the order of the classes (ReLUs, clamps, saturated sigmoids, a shift by the
    largest), they can hide it from a gradient: the output is flat, what stands before it is not. A result counts in
    a row where it has one entry per class, carries a gradient, and no two of its classes are in another order than in
    the output, ties of the output aside. The output itself always does.

    Parameters
    ----------
    network
        Maps inputs to logits.

    Attributes
    ----------
    output
        What the network itself returned last.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(3, 2, bias=False), nn.Hardtanh())
    >>> _ = network[1].weight.data.copy_(torch.tensor([[3.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    >>> x = torch.tensor([[0.5, 0.25, 0.0]], requires_grad=True)
    >>> network(x).detach(), BeforeOutput(network)(x).detach()
    (tensor([[1.0000, 0.2500]]), tensor([[1.5000, 0.2500]]))
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.output = torch.zeros(0, 0)

    def forward(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """Return the logits before the output."""
        with _Results() as results:
            output = self.network(x)
        # Out of sight of surrogate gradients: this chooses, it is no part of the network.
        with torch._C.DisableTorchFunction():
            self.output = output.detach()
            before, missing = output, torch.ones(len(output), 1, dtype=torch.bool, device=output.device)
            for result in results.seen:
                if result is output or result.shape != output.shape or not result.requires_grad:
                    continue
                here = missing & _same_order(result.detach(), self.output)
                if bool(here.any()):
                    before = torch.where(here, result.to(output.dtype), before)
                    missing = missing & ~here
        return before


class LogitsBefore(BorrowedGradients):
    """An evaluator whose losses and gradients are those of the logits before the output; logits are the output's.

    Parameters
    ----------
    evaluator
        Evaluates the model.
    """

    def __init__(self, evaluator: Evaluator) -> None:
        self._before = BeforeOutput(evaluator.classifier.network)
        super().__init__(evaluator, self._before)

    def gradients(self, points: Float[Tensor, "n *shape"], losses: Sequence[Loss]) -> Evaluated:
        """Return the model's logits, and losses and gradients of those before."""
        _, values, gradients = super().gradients(points, losses)
        return self._before.output[: len(points)].to(points.dtype), values, gradients


def _same_order(z: Float[Tensor, "n classes"], output: Float[Tensor, "n classes"]) -> Bool[Tensor, "n 1"]:
    """Return the rows in which the output never rises from a class to one with a lower z."""
    ordered = output.gather(1, z.argsort(dim=1, descending=True, stable=True))
    return (ordered[:, 1:] <= ordered[:, :-1]).all(1, keepdim=True)


class _Results(TorchFunctionMode):
    """Holds the floating results of two axes of all operations, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation."""
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.ndim == 2 and result.is_floating_point():
            self.seen.append(result)
        return result
