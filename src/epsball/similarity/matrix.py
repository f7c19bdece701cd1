"""`LayerMatrix`: what pictures and summaries need of a similarity."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float64
from torch import Tensor


@runtime_checkable
class LayerMatrix(Protocol):
    """A matrix over the layers of two networks, with its jackknife replicates; see `Similarity`."""

    @property
    def matrix(self) -> Float64[Tensor, "a b"]:
        """The value of each pair of layers, NaN where undefined."""
        ...

    @property
    def replicates(self) -> Float64[Tensor, "g a b"]:
        """The matrix without each group of rows in turn."""
        ...

    @property
    def layers_a(self) -> tuple[str, ...]:
        """Names of the first network's layers, in execution order."""
        ...

    @property
    def layers_b(self) -> tuple[str, ...]:
        """Names of the second network's layers, in execution order."""
        ...
