"""Tools for adaptive attacks on defended models: another gradient for a module, and a detector beside a network."""

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
        with torch.no_grad():
            exact = self.exact(x)
        if not torch.is_grad_enabled():
            return exact
        smooth = self.surrogate(x)
        if smooth.shape != exact.shape:
            raise ModelError(
                f"the surrogate returns {tuple(smooth.shape)} and the defence {tuple(exact.shape)}; a gradient "
                "needs the same shape on both. Give a surrogate of the defence's output."
            )
        return _Grafted.apply(exact, smooth)


class _Grafted(torch.autograd.Function):
    """The first argument, with the gradient going to the second."""

    @staticmethod
    def forward(ctx: Any, exact: Tensor, smooth: Tensor) -> Tensor:
        """Return the exact value."""
        return exact.clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[None, Tensor]:
        """Return the gradient to the stand-in."""
        return None, grad_outputs[0]


def rejecting(network: nn.Module, detector: Callable[[Tensor], Tensor]) -> nn.Module:
    """Return a module of the network's logits z and one for rejection, max_j z_j + D(x).

    The rejection is the largest logit exactly where the detector's score D(x) is positive, and both
    parts have gradients. An attack on ``Classifier(rejecting(f, D), rejects=True)`` is adaptive: its
    losses rise only where an input is misclassified and not detected. (Carlini and Wagner's combined logit
    (D + 1) max_j z_j needs positive logits; this one does not.)

    Parameters
    ----------
    network
        Maps inputs (n, *shape) to logits (n, classes).
    detector
        Maps inputs to scores (n,), positive where an input is to be rejected.

    References
    ----------
    Carlini and Wagner, "Adversarial examples are not easily detected", AISec 2017, section 3.4.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> defended = eb.attacks.rejecting(torch.nn.Identity(), lambda x: x.amax(1) - 0.8)
    >>> defended(torch.tensor([[0.9, 0.3]]))
    tensor([[0.9000, 0.3000, 1.0000]])
    """
    return _Rejecting(network, detector)


class _Rejecting(nn.Module):
    def __init__(self, network: nn.Module, detector: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.detector = network, detector

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, classes + 1)."""
        z, score = self.network(x), self.detector(x)
        if score.shape != z.shape[:1]:
            raise ModelError(
                f"the detector returns {tuple(score.shape)} for {len(z)} inputs; give one score each, ({len(z)},)."
            )
        return torch.cat([z, z.amax(1, keepdim=True) + score[:, None]], dim=1)
