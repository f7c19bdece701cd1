"""Specifications: which linear functions of the logits are bounded, and what follows from the bounds."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from epsball.certificates.box import Box


def margin_rows(predicted: Int[Tensor, " n"], classes: int) -> Float[Tensor, "n r classes"]:
    """Return the rows e_p - e_j for every class j other than the predicted p, in the order of j; r = classes - 1.

    Examples
    --------
    >>> import torch
    >>> margin_rows(torch.tensor([1]), 3)
    tensor([[[-1.,  1.,  0.],
             [ 0.,  1., -1.]]], dtype=torch.float64)
    """
    n = len(predicted)
    every = torch.eye(classes, dtype=torch.float64, device=predicted.device).expand(n, classes, classes)
    others = torch.arange(classes, device=predicted.device) != predicted.unsqueeze(1)
    own = every[torch.arange(n, device=predicted.device), predicted].unsqueeze(1)
    return own - every[others].view(n, classes - 1, classes)


def by_class(rows: Float[Tensor, "n r"], predicted: Int[Tensor, " n"]) -> Float[Tensor, "n classes"]:
    """Return bounds of `margin_rows` by class j: infinite at the predicted one.

    Examples
    --------
    >>> import torch
    >>> by_class(torch.tensor([[0.5, 2.0]]), torch.tensor([1]))
    tensor([[0.5000,    inf, 2.0000]])
    """
    n, classes = len(rows), rows.shape[1] + 1
    spread = rows.new_full((n, classes), math.inf)
    others = torch.arange(classes, device=rows.device) != predicted.unsqueeze(1)
    spread[others] = rows.flatten()
    return spread


def separations(logits: Box, predicted: Int[Tensor, " n"]) -> Float[Tensor, "n classes"]:
    """Return low_p - high_j by class, rounded down and infinite at p: margins from the logits' own bounds.

    Examples
    --------
    >>> import torch
    >>> logits = Box(low=torch.tensor([[0.5, 0.0]]), high=torch.tensor([[2.0, 0.25]]))
    >>> separations(logits, torch.tensor([0]))
    tensor([[   inf, 0.2500]])
    """
    low = logits.low.gather(1, predicted.unsqueeze(1))
    gap = torch.nextafter(low - logits.high, low.new_tensor(-math.inf))
    return gap.scatter(1, predicted.unsqueeze(1), math.inf)


def separated(logits: Box, predicted: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Return whether the lower bound of the predicted logit lies above the upper bounds of all others.

    Sufficient for stability, but looser than bounding each difference with the specification folded in.

    Examples
    --------
    >>> import torch
    >>> logits = Box(low=torch.tensor([[0.5, 0.0]]), high=torch.tensor([[2.0, 0.25]]))
    >>> separated(logits, torch.tensor([0]))
    tensor([True])
    """
    return (separations(logits, predicted) > 0).all(dim=1)
