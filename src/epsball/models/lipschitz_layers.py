"""Layers of Lipschitz constant 1 in l2, by construction: orthogonal weights, and pairs that are sorted.

A dense layer's weight is the orthonormal factor of a matrix. A convolution's kernel is composed of an orthogonal matrix
and of kernels of two taps, P and I - P with P an orthogonal projector: each preserves the l2 norm of an image on a
circle of places, and so does their composition (Li et al.). On an image between zeros the norm is at most 1. In
floating point that holds up to rounding; what certificates use is the verified norm of the weights as they are.

References
----------
Li, Haque, Anil, Lucas, Grosse and Jacobsen, "Preventing gradient attenuation in Lipschitz constrained convolutional
networks" (NeurIPS 2019), arXiv:1911.00937. Anil, Lucas and Grosse, "Sorting out Lipschitz function approximation" (ICML
2019), arXiv:1811.05381.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize


class Orthonormal(nn.Module):
    """The weight of a dense layer with orthonormal rows, or columns where the outputs are more."""

    def forward(self, matrix: Float[Tensor, "*n rows columns"]) -> Float[Tensor, "*n rows columns"]:
        """Return Q of the matrix's (transposed) factors Q R, R with a positive diagonal: a smooth function of it."""
        wide = matrix.shape[-2] < matrix.shape[-1]
        q, r = torch.linalg.qr(matrix.mT if wide else matrix)
        q = q * torch.where(r.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0).unsqueeze(-2)
        return q.mT if wide else q


class BlockOrthogonal(nn.Module):
    """The kernel of an orthogonal convolution, (out, in, *lengths), from 1 + sum(length - 1) square matrices.

    Their orthonormal factors Q give, with c channels on the larger side, H, the first min(out, in) rows of the first Q,
    and the projectors P = U U^T, U the first c / 2 columns of each other one; the kernel is H composed with
    P + (I - P) shift, as many times along each axis as it is longer than 1. Where out > in, that is the transposed one.
    """

    def __init__(self, weight: Float[Tensor, "out channels *lengths"]) -> None:
        super().__init__()
        self.out, self.channels, *self.lengths = weight.shape
        self.orthonormal = Orthonormal()

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Return the matrices to begin with: random ones, whatever the weight was."""
        c = max(self.out, self.channels)
        return torch.randn(1 + sum(length - 1 for length in self.lengths), c, c, dtype=weight.dtype) * c**-0.5

    def forward(self, matrices: Float[Tensor, "matrices c c"]) -> Float[Tensor, "out channels *lengths"]:
        """Return the kernel."""
        first, *others = self.orthonormal(matrices)
        least = min(self.out, self.channels)
        kernel = first[:least].reshape(*(1,) * len(self.lengths), least, -1)
        axes = [axis for axis, length in enumerate(self.lengths) for _ in range(length - 1)]
        for axis, q in zip(axes, others, strict=True):
            half = q[:, : len(q) // 2]
            here = kernel @ half @ half.T
            none = torch.zeros_like(kernel.narrow(axis, 0, 1))
            kernel = torch.cat([here, none], dim=axis) + torch.cat([none, kernel - here], dim=axis)
        channels = (-2, -1) if self.out <= self.channels else (-1, -2)
        return kernel.movedim(channels, (0, 1))


def orthogonal(layer: nn.Linear | nn.Conv1d | nn.Conv2d) -> nn.Module:
    """Give a linear or convolutional layer, of stride 1 and padded by zeros, an orthogonal weight; return the layer."""
    if isinstance(layer, nn.Linear):
        nn.init.orthogonal_(layer.weight)
        parametrize.register_parametrization(layer, "weight", Orthonormal())
    else:
        parametrize.register_parametrization(layer, "weight", BlockOrthogonal(layer.weight), unsafe=True)
    return layer


class GroupSort(nn.Module):
    """Sorts pairs of channels: the greater of channels i and i + C/2 comes to i, the less to i + C/2.

    A permutation at every point: gradients keep their norm.
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
