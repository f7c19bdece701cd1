"""The model as another library sees it: a plain module that counts every pass."""

from typing import Any

import torch
from torch import Tensor, nn

from epsball.classifier import Classifier


class CountingModule(nn.Module):
    """Maps raw inputs to logits, differentiably; holds no weights that another library could train or switch.

    Parameters
    ----------
    classifier
        The model under test.

    Attributes
    ----------
    forwards, backwards
        Examples passed forward and backward so far.
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        # Libraries read a model's device off its first parameter. The network itself is not a submodule,
        # so that their train(), eval() and zero_grad() do not reach it.
        self.device_of = nn.Parameter(torch.empty(0, device=classifier.device), requires_grad=False)
        self._classifier = classifier
        self.forwards = self.backwards = 0
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Return logits; float64 from libraries that compute in NumPy is rounded to the model's dtype."""
        self.forwards += len(x)
        x = x.to(self._classifier.dtype)
        return self._classifier.forward(_Counted.apply(x, self) if x.requires_grad else x)

    def passed_back(self, n: int) -> None:
        """Count backward passes of `n` examples."""
        self.backwards += n
        self._classifier.passes.backward += n


class _Counted(torch.autograd.Function):
    """The identity; tells the module when a gradient passes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, module: CountingModule) -> Tensor:
        """Return the input."""
        ctx.module = module
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        """Return the gradient, counted."""
        (gradient,) = grad_outputs
        ctx.module.passed_back(len(gradient))
        return gradient, None
