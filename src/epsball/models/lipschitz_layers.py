"""Layers of Lipschitz constant 1 in l2, by construction.

Rescaling a weight as Prach and Lampert do ("Almost-Orthogonal Layers for Efficient General-Purpose Lipschitz
Networks", ECCV 2022) makes W' = W D^(-1/2), D = diag(sum_j abs(W^T W)_ij), a map with ||W'||_2 <= 1: the matrix
D - W^T W is diagonally dominant. In floating point 1 is reached up to rounding; what certificates use is the
verified norm of the weights as they are.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

_LEAST = 1e-12
"""Added to D: unused inputs keep the weight 0."""


class AlmostOrthogonal(nn.Module):
    """The rescaled weight of a dense layer, (out, in), or of a convolution, (out, in, *kernel)."""

    def forward(self, weight: Tensor) -> Tensor:
        """Return W D^(-1/2), the scale being one for each input or input channel."""
        if weight.ndim == 2:
            scale = (weight.T @ weight).abs().sum(dim=1)
            return weight * torch.rsqrt(scale + _LEAST)
        # (W^T W) is the correlation of the kernels of every two input channels, at every offset.
        kernels = weight.transpose(0, 1)
        correlate = functional.conv1d if weight.ndim == 3 else functional.conv2d
        products = correlate(kernels, kernels, padding=[length - 1 for length in weight.shape[2:]])
        scale = products.abs().flatten(1).sum(dim=1)
        return weight * torch.rsqrt(scale + _LEAST).view(1, -1, *(1,) * (weight.ndim - 2))


def almost_orthogonal(layer: nn.Linear | nn.Conv1d | nn.Conv2d) -> nn.Module:
    """Give a linear or convolutional layer a weight of spectral norm at most 1; return the layer.

    It begins orthogonal: the rescaling then changes nothing, and signals keep their length through many layers.
    """
    with torch.no_grad():
        centre = (slice(None), slice(None), *(length // 2 for length in layer.weight.shape[2:]))
        start = nn.init.orthogonal_(torch.empty_like(layer.weight[centre]))
        layer.weight.zero_()
        layer.weight[centre] = start
    parametrize.register_parametrization(layer, "weight", AlmostOrthogonal())
    return layer


class GroupSort(nn.Module):
    """Sorts pairs of channels: the greater of channels i and i + C/2 comes to i, the less to i + C/2.

    A permutation at every point: gradients keep their norm.

    References
    ----------
    Anil, Lucas and Grosse, "Sorting out Lipschitz function approximation", ICML 2019, arXiv:1811.05381.
    """

    def forward(self, x: Float[Tensor, "n channels *places"]) -> Float[Tensor, "n channels *places"]:
        """Return x with its pairs of channels sorted; the number of channels is even."""
        first, second = x.chunk(2, dim=1)
        return torch.cat([torch.maximum(first, second), torch.minimum(first, second)], dim=1)


class Scale(nn.Module):
    """Multiplies by a constant: it lets bounded logits be as decided as a loss needs, and no certificate looser."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Return factor * x."""
        return self.factor * x
