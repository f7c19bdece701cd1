"""A backward pass written by hand that returns something else than the gradient."""

from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsball.errors import lookup
from epsball.masking.zoo.defence import Defence
from epsball.masking.zoo.input_transformation import in_front, through

Wrong = Literal["permuted", "signs"]
"""Entries in another order, or with other signs."""


class WrongGradient(nn.Module):
    """Return the input; pass back its gradient with the entries permuted, or half of their signs changed.

    The permutation and the signs are drawn once per shape, from a seed.

    Parameters
    ----------
    kind
        ``"permuted"`` or ``"signs"``.
    seed
        Of the draw.

    Examples
    --------
    >>> import torch
    >>> x = torch.zeros(1, 4, requires_grad=True)
    >>> (WrongGradient("permuted")(x) * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    >>> x.grad.sort().values, bool((x.grad == torch.tensor([1.0, 2.0, 3.0, 4.0])).all())
    (tensor([[1., 2., 3., 4.]]), False)
    """

    def __init__(self, kind: Wrong = "permuted", seed: int = 0) -> None:
        super().__init__()
        lookup(dict.fromkeys(get_args(Wrong)), kind, "wrong gradient:")
        self.kind, self.seed = kind, seed

    def forward(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        """Return x."""
        generator = torch.Generator().manual_seed(self.seed)
        entries = x[0].numel()
        if self.kind == "permuted":
            order = torch.randperm(entries, generator=generator).to(x.device)
            return _Permuted.apply(x, order)
        signs = 2.0 * (torch.rand(entries, generator=generator) < 0.5) - 1.0
        return _Signed.apply(x, signs.to(x).view(x.shape[1:]))

    def extra_repr(self) -> str:
        """Return the kind."""
        return f"kind={self.kind}"


class _Permuted(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor) -> Tensor:
        """Return x."""
        ctx.order = order
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        """Return the gradient with its entries in another order."""
        (gradient,) = grad_outputs
        return gradient.flatten(1)[:, ctx.order].view_as(gradient), None


class _Signed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, signs: Tensor) -> Tensor:
        """Return x."""
        ctx.signs = signs
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        """Return the gradient with other signs."""
        (gradient,) = grad_outputs
        return ctx.signs * gradient, None


def _defence(name: str, kind: Wrong, does: str) -> Defence:
    return Defence(
        name=name,
        paper="a known pitfall: Athalye, Carlini and Wagner, ICML 2018, section 3 (incorrect gradients)",
        does=does,
        masking="wrong",
        base="cifar-standard",
        ball="linf:8/255",
        defend=lambda network: in_front(WrongGradient(kind), network),
        adaptive=through,
    )


PERMUTED = _defence("permuted-gradient", "permuted", "Returns gradients whose entries are in another order.")
SIGNS = _defence("wrong-gradient", "signs", "Returns gradients half of whose entries have the wrong sign.")
