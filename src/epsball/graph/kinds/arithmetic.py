"""Kinds of two inputs: sums, products, quotients, matrix products, maximum and minimum.

Both inputs have the same rank; axes of length 1 are broadcast, the batch included.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from epsball.graph.kinds.kind import Parameters


@dataclass(frozen=True, kw_only=True)
class Add:
    """a + b."""

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return a + b."""
        a, b = values
        return a + b


@dataclass(frozen=True, kw_only=True)
class Subtract:
    """a - b."""

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return a - b."""
        a, b = values
        return a - b


@dataclass(frozen=True, kw_only=True)
class Multiply:
    """a * b, entry by entry."""

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return a * b."""
        a, b = values
        return a * b


@dataclass(frozen=True, kw_only=True)
class Divide:
    """a / b, entry by entry."""

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return a / b."""
        a, b = values
        return a / b


@dataclass(frozen=True, kw_only=True)
class MatMul:
    """The matrix product over the last two axes; (a @ b)_ik = sum_j a_ij b_jk."""

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return a @ b."""
        a, b = values
        return a @ b


@dataclass(frozen=True, kw_only=True)
class Maximum:
    """max(a, b), entry by entry."""

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return max(a, b)."""
        a, b = values
        return torch.maximum(a, b)


@dataclass(frozen=True, kw_only=True)
class Minimum:
    """min(a, b), entry by entry."""

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return min(a, b)."""
        a, b = values
        return torch.minimum(a, b)
