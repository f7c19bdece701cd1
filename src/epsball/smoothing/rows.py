"""What is known of each example of a smoothing, as columns."""

import dataclasses
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """What is known per example; arrays of one length.

    Parameters
    ----------
    index
        Position in the source.
    label
        The label.
    predicted
        The class that had most votes in the selection, whether or not it was certified.
    count, samples
        Its votes among the samples after the selection.
    share
        Lower bound on its share.
    radius
        The radius that follows, rounded down; 0 where the share may be 1/2 or less.
    """

    index: Int64[np.ndarray, " n"]
    label: Int64[np.ndarray, " n"]
    predicted: Int64[np.ndarray, " n"]
    count: Int64[np.ndarray, " n"]
    samples: Int64[np.ndarray, " n"]
    share: Float64[np.ndarray, " n"]
    radius: Float64[np.ndarray, " n"]

    @classmethod
    def dtypes(cls) -> dict[str, type]:
        """Return the columns and their types."""
        floats = ("share", "radius")
        return {field.name: np.float64 if field.name in floats else np.int64 for field in dataclasses.fields(cls)}

    @classmethod
    def none(cls) -> "Rows":
        """Return the rows of no example."""
        return cls(**{name: np.zeros(0, dtype=dtype) for name, dtype in cls.dtypes().items()})

    def __len__(self) -> int:
        return len(self.index)

    def columns(self) -> dict[str, np.ndarray]:
        """Return the arrays by name."""
        return {name: getattr(self, name) for name in self.dtypes()}

    def joined(self, other: "Rows") -> "Rows":
        """Return these rows and then the other ones."""
        return Rows(**{name: np.concatenate([mine, getattr(other, name)]) for name, mine in self.columns().items()})
