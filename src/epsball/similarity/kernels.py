"""Kernels on the rows of a feature matrix, computed from the Gram matrix of centred features."""

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch

from epsball.checks import check_positive
from epsball.errors import InputError, nearest
from epsball.names import KernelName
from epsball.similarity.gram import BlockGram

COINCIDENT = 1e-6
"""Squared distances below this share of their mean are rounding errors of float32 products."""


@runtime_checkable
class Kernel(Protocol):
    """A kernel: a width fixed once for the whole data, and a map from inner products to kernel values.

    Attributes
    ----------
    sample_rows
        Number of rows, drawn from the whole data, that set the width; 0 if there is no width.
    """

    sample_rows: ClassVar[int]

    def width(self, gram: BlockGram) -> float:
        """Return the width of a layer for the whole comparison; 0 leaves the kernel undefined."""
        ...

    def __call__(self, gram: BlockGram, width: float) -> BlockGram:
        """Return the kernel's values from the inner products of centred features."""
        ...


@dataclass(frozen=True, kw_only=True)
class Linear:
    """K_ij = <x_i - m, x_j - m>, m the mean row: the kernel of the chapter's features Z.

    Examples
    --------
    >>> print(Linear())
    linear
    """

    sample_rows: ClassVar[int] = 0

    def __str__(self) -> str:
        return "linear"

    def width(self, gram: BlockGram) -> float:
        """Return 1: the linear kernel has no width."""
        return 1.0

    def __call__(self, gram: BlockGram, width: float) -> BlockGram:
        """Return the inner products themselves."""
        return gram


@dataclass(frozen=True, kw_only=True)
class RBF:
    """K_ij = exp(-|x_i - x_j|^2 / (2 sigma^2)) - 1, sigma = `bandwidth` times the median distance.

    Centring removes the constant -1, which keeps wide kernels accurate. The median is taken once
    per layer, over the pairs of 256 rows drawn from the whole data (all rows if there are fewer), so
    it does not depend on batches. It leaves out pairs that coincide up to rounding: with them,
    sparse features would have the width 0.

    Parameters
    ----------
    bandwidth
        sigma in units of the median distance between two rows (published choices: 0.2 to 1).

    Raises
    ------
    InputError
        If `bandwidth` is not positive.

    Examples
    --------
    >>> print(RBF(bandwidth=0.5))
    rbf, sigma = 0.5 median distances
    """

    bandwidth: float = 1.0
    sample_rows: ClassVar[int] = 256

    def __post_init__(self) -> None:
        check_positive("bandwidth", self.bandwidth)

    def __str__(self) -> str:
        return f"rbf, sigma = {self.bandwidth:g} median distances"

    def width(self, gram: BlockGram) -> float:
        """Return sigma from the Gram matrix of the sampled rows."""
        squared = torch.cat([pairs.flatten() for pairs in gram.squared_distances().pairs()])
        apart = squared[squared > COINCIDENT * squared.mean()]
        return self.bandwidth * math.sqrt(float(apart.median())) if len(apart) else 0.0

    def __call__(self, gram: BlockGram, width: float) -> BlockGram:
        """Return exp(-d^2 / (2 sigma^2)) - 1 of the squared distances d^2."""
        return BlockGram([torch.expm1(slab / (-2.0 * width**2)) for slab in gram.squared_distances().slabs])


KernelLike = Kernel | KernelName
KERNELS: dict[KernelName, Kernel] = {"linear": Linear(), "rbf": RBF()}


def kernel_named(kernel: KernelLike) -> Kernel:
    """Return a kernel by its registered name; a kernel object is returned as it is.

    Raises
    ------
    InputError
        If the name is not registered, or `kernel` is neither a name nor a kernel.
    """
    if isinstance(kernel, Kernel) and not isinstance(kernel, type):
        return kernel
    if not isinstance(kernel, str):
        raise InputError(f"kernel is {kernel!r}; give one of {', '.join(KERNELS)}, or a kernel such as RBF().")
    if kernel not in KERNELS:
        raise InputError(f"kernel '{kernel}' is not one of {', '.join(KERNELS)}.{nearest(kernel, KERNELS)}")
    return KERNELS[kernel]
