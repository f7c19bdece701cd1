"""Functions of the input whose gradients and Hessians are known."""

import torch
from torch import nn
from torch.nn import functional

import epsball as eb
from epsball.masking.geometry import Surface

DIMENSIONS = 12


def centres(count=3, dimensions=DIMENSIONS, low=0.3, high=0.7):
    generator = torch.Generator().manual_seed(0)
    return low + (high - low) * torch.rand(count, dimensions, generator=generator, dtype=torch.float64)


class Float64(nn.Module):
    """The identity, in float64."""

    def __init__(self):
        super().__init__()
        self.register_buffer("zero", torch.zeros((), dtype=torch.float64))

    def forward(self, x):
        return x + self.zero


def surface_of(function, x):
    """Return the surface f(x') = function(x') and its classifier; logits are the input itself."""
    classifier = eb.Classifier(Float64())
    return classifier, Surface.of(classifier, x, torch.zeros(len(x), dtype=torch.int64), lambda z, y: function(z))


def symmetric(values, seed=1):
    """Return a symmetric matrix with these eigenvalues, and the eigenvectors as columns."""
    generator = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(len(values), len(values), generator=generator, dtype=torch.float64))
    return q @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ q.T, q


def quadratic(matrix, slope):
    """Return z -> z^T A z / 2 + b^T z."""
    return lambda z: ((z @ matrix) * z).sum(1) / 2 + z @ slope


class SoftplusNet(nn.Module):
    """Two logits: v^T softplus(W x) and 0. The margin of class 0 has the Hessian W^T diag(v sigma') W."""

    def __init__(self, dimensions=DIMENSIONS, hidden=20):
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        self.W = nn.Parameter(torch.randn(hidden, dimensions, generator=generator, dtype=torch.float64))
        self.v = nn.Parameter(torch.randn(hidden, generator=generator, dtype=torch.float64))

    def forward(self, x):
        z = functional.softplus(x @ self.W.T) @ self.v
        return torch.stack([z, torch.zeros_like(z)], dim=1)

    def gradient(self, x):
        return (torch.sigmoid(x @ self.W.T) * self.v) @ self.W

    def hessian(self, x):
        s = torch.sigmoid(x @ self.W.T)
        return torch.einsum("nh,hi,hj->nij", self.v * s * (1 - s), self.W, self.W)
