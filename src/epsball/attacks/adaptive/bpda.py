"""`bpda`: a module with the values of one function and the gradient of another."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from epsball.errors import ModelError

Function = Callable[[Tensor], Tensor]


def bpda(forward: Function, surrogate: Function | None = None) -> nn.Module:
    """Return a module that computes `forward` and passes gradients back as `surrogate` would.

    For a defence g with no useful gradient (quantisation, thermometer codes, JPEG) in front of a
    network f: ``nn.Sequential(bpda(g), f)`` has exactly the logits of f(g(x)), so that verdicts are
    those of the defended model, and useful gradients.

    Parameters
    ----------
    forward
        The defence; a module or a function.
    surrogate
        A differentiable stand-in of the same output shape (default: the identity).

    References
    ----------
    Athalye, Carlini and Wagner, "Obfuscated gradients give a false sense of security", ICML 2018,
    section 4.1.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> steps = eb.attacks.bpda(torch.round)
    >>> x = torch.tensor([[0.4, 0.7]], requires_grad=True)
    >>> steps(x).sum().backward()
    >>> x.grad
    tensor([[1., 1.]])
    """
    return _Approximated(forward, surrogate or nn.Identity())


class _Approximated(nn.Module):
    def __init__(self, forward: Function, surrogate: Function) -> None:
        super().__init__()
        self.exact, self.surrogate = forward, surrogate

    def forward(self, x: Tensor) -> Tensor:
        """Return forward(x), with the gradient of surrogate(x)."""
        # Out of sight of automatic surrogate gradients: the user's own surrogate counts.
        with torch.no_grad(), torch._C.DisableTorchFunction():
            exact = self.exact(x)
        if not torch.is_grad_enabled():
            return exact
        smooth = self.surrogate(x)
        if smooth.shape != exact.shape:
            raise ModelError(
                f"the surrogate returns {tuple(smooth.shape)} and the defence {tuple(exact.shape)}; a gradient "
                "needs the same shape on both. Give a surrogate of the defence's output."
            )
        with torch._C.DisableTorchFunction():
            return Grafted.apply(exact, smooth)


class Grafted(torch.autograd.Function):
    """The first argument, with the gradient going to the second."""

    @staticmethod
    def forward(ctx: Any, exact: Tensor, smooth: Tensor) -> Tensor:
        """Return the exact value."""
        return exact.clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[None, Tensor]:
        """Return the gradient to the stand-in."""
        return None, grad_outputs[0]
