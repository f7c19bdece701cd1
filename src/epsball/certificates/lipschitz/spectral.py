"""Verified upper bounds on spectral norms, dense and convolutional.

Power iteration gives lower bounds of a norm, which certify nothing. Here

    ||W||_2 <= ||(W^T W)^(2^k)||_F^(1 / 2^(k+1)),

the Gram iteration (Delattre et al., "Efficient Bound of Lipschitz Constant for Convolutional
Layers by Gram Iteration", ICML 2023), an upper bound after every step, with its own rounding added.
"""

import itertools
import math

import torch
from torch import Tensor

from epsball.graph.kinds import Convolution

_UNIT = 2.0**-53
_STEPS = 11
_ENTRIES = 2**22
"""Entries of the matrices of frequencies that are held at a time."""


def spectral_bound(matrices: Tensor) -> Tensor:
    """Return an upper bound of the spectral norm of each matrix, (..., m, n) float64 or complex128.

    One step: with s = ||W||_F, H = W / s and G = fl(H* H), ||W|| <= s (sqrt(||G|| + e) + u), where
    e = gamma ||H||_F^2 bounds the rounding of the product. G is bounded in the same way.
    """
    if matrices.shape[-1] > matrices.shape[-2]:
        matrices = matrices.mH
    # A complex product is four real ones and two sums.
    rounding = 4 * (matrices.shape[-2] + 4) * _UNIT
    return _bound(matrices, _STEPS, rounding)


def _bound(matrix: Tensor, steps: int, rounding: float) -> Tensor:
    size = torch.linalg.matrix_norm(matrix, "fro") * (1 + rounding)
    # Entries whose squares underflow are below 2^-500.
    size = size + 2.0**-400
    if steps == 0:
        return size
    scaled = matrix / size[..., None, None]
    gram = scaled.mH @ scaled
    inner = _bound(gram, steps - 1, rounding)
    return size * (torch.sqrt(inner + 2 * rounding) + 2 * _UNIT) * (1 + 8 * _UNIT)


def convolution_bound(kind: Convolution, weight: Tensor, places: tuple[int, ...]) -> float:
    """Return an upper bound of the l2 norm of a zero-padded convolution.

    A convolution over a finite grid is a restriction of the circular one on a grid of at least
    (outputs) + (reach of the kernel) places, whose norm is the greatest over the frequencies f of

        || sum over taps t of W_t exp(-2 pi i f . t) ||_2.

    A stride s is taken apart into the s classes of places modulo s, which become input channels
    (Sedghi, Gupta and Long, "The Singular Values of Convolutional Layers", ICLR 2019, for stride 1).

    Parameters
    ----------
    kind, weight
        The convolution and its weight, float64. The norm of a transposed convolution is that of the plain one.
    places
        Spatial size of the side with stride: the output, of a transposed convolution the input.
    """
    groups = kind.groups
    per_group = weight.reshape(groups, len(weight) // groups, *weight.shape[1:])
    return max(_group_bound(kind, group, places) for group in per_group)


def _group_bound(kind: Convolution, weight: Tensor, places: tuple[int, ...]) -> float:
    taps = torch.tensor(list(itertools.product(*map(range, weight.shape[2:]))), dtype=torch.float64)
    offsets = taps * torch.tensor(kind.dilation, dtype=torch.float64)
    stride = torch.tensor(kind.stride, dtype=torch.float64)
    coarse, phase = torch.div(offsets, stride, rounding_mode="floor"), torch.remainder(offsets, stride)
    _, channel = torch.unique(phase, dim=0, return_inverse=True)
    flat = weight.flatten(2)
    grid = [place + int(reach) for place, reach in zip(places, coarse.amax(dim=0).tolist(), strict=True)]
    most = 0.0
    for frequencies in _frequencies(grid).split(max(1, _ENTRIES // flat[..., 0].numel())):
        angle = -2 * math.pi * (frequencies @ coarse.T)
        wave = torch.polar(torch.ones_like(angle), angle)
        # Taps of one phase are summed; different phases are different input channels.
        spread = torch.zeros(len(frequencies), len(weight), flat.shape[1], int(channel.max()) + 1, dtype=wave.dtype)
        spread.index_add_(3, channel, flat.to(wave.dtype) * wave[:, None, None, :])
        most = max(most, float(spectral_bound(spread.flatten(2)).max()))
    # Angles up to 2 pi per axis and their cosines are off by less than 64 units, each tap's share alike.
    doubt = (64 * len(grid) * max(1.0, float(coarse.max())) + flat.shape[2] + 4) * _UNIT
    return most + doubt * float(flat.abs().sum(dim=2).square().sum().sqrt()) * (1 + 1e-9)


def _frequencies(grid: list[int]) -> Tensor:
    """Return the frequencies of a circular grid, (number, axes); W is real, so half of the last axis is enough."""
    axes = [torch.arange(length, dtype=torch.float64) / length for length in grid]
    axes[-1] = axes[-1][: grid[-1] // 2 + 1]
    return torch.cartesian_prod(*axes).reshape(-1, len(grid))
