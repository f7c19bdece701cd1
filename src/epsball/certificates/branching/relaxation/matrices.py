"""Matrices that multiply columns: kept sparse where few of their entries are not 0, as those of convolutions are."""

from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

_SHARE, _ENTRIES = 0.2, 2**12
"""Below this share of entries that are not 0 sparse products are faster, in matrices of at least so many entries."""


class Sparse(NamedTuple):
    """The entries of a matrix of m rows that are not 0, row by row: values, and the row and column of each."""

    values: Tensor
    rows: Tensor
    columns: Tensor
    height: int

    @classmethod
    def of(cls, dense: Tensor) -> "Sparse":
        """Return the entries of a matrix."""
        rows, columns = torch.nonzero(dense, as_tuple=True)
        return cls(dense[rows, columns], rows, columns, len(dense))

    @property
    def starts(self) -> Tensor:
        """Where each row starts, and the end, (m + 1,)."""
        counts = torch.bincount(self.rows, minlength=self.height)
        return torch.cat([counts.new_zeros(1), counts.cumsum(0)])

    def sums(self, values: Tensor) -> Tensor:
        """Return the sum by row of values beside the entries, (m,)."""
        return torch.zeros(self.height, dtype=values.dtype).index_add_(0, self.rows, values)

    def having(self, values: Tensor) -> "Sparse":
        """Return other values at the same entries."""
        return self._replace(values=values)


class Matrix:
    """A matrix (m, n), and its products with columns (n, b) and, transposed, (m, b).

    Parameters
    ----------
    dense
        The matrix; `of` makes one from a sparse one.
    """

    def __init__(self, dense: Tensor) -> None:
        self.height, self.width = dense.shape
        few = dense.numel() >= _ENTRIES and int(torch.count_nonzero(dense)) < _SHARE * dense.numel()
        self._dense = None if few else dense
        self._sparse = csr_array(dense.numpy()) if few else None

    @classmethod
    def of(cls, sparse: "Sparse", width: int) -> "Matrix":
        """Return a sparse matrix with a number of columns."""
        made = cls.__new__(cls)
        parts = (sparse.values.numpy(), sparse.columns.numpy(), sparse.starts.numpy())
        made._dense, made._sparse = None, csr_array(parts, shape=(sparse.height, width))
        made.height, made.width = sparse.height, width
        return made

    def entries(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the entries that are not 0, row by row: the row, the column and the value of each."""
        if self._sparse is None:
            found = Sparse.of(self._dense)  # pyright: ignore[reportArgumentType]
            return found.rows.numpy(), found.columns.numpy(), found.values.numpy()
        rows = np.repeat(np.arange(self.height), np.diff(self._sparse.indptr))
        return rows, self._sparse.indices, self._sparse.data

    def times(self, columns: Tensor) -> Tensor:
        """Return M c, (m, b)."""
        if self._sparse is None:
            return self._dense @ columns  # pyright: ignore[reportOptionalOperand]
        return torch.from_numpy(self._sparse @ columns.numpy())

    def back(self, columns: Tensor) -> Tensor:
        """Return M^T c, (n, b)."""
        if self._sparse is None:
            return self._dense.T @ columns  # pyright: ignore[reportOptionalMemberAccess]
        return torch.from_numpy(self._sparse.T @ columns.numpy())
