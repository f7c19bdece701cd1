"""Summaries of similarity matrices: means over blocks of layers, similar blocks, and shifts between data sets.

Means are over the defined entries; their errors come from the same jackknife as the matrix.
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from epsball.errors import InputError
from epsball.results import jsonable, text_table
from epsball.similarity.jackknife import jackknife_error, student_factor
from epsball.statistics import Bound, Interval


@runtime_checkable
class LayerMatrix(Protocol):
    """A matrix over the layers of two networks, with its jackknife replicates; see `Similarity`."""

    @property
    def matrix(self) -> Float64[Tensor, "a b"]:
        """The value of each pair of layers, NaN if undefined."""
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


ALIKE = 0.8
"""Least similarity of layers that form a block."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """A run of consecutive layers of which every two have a similarity of at least `ALIKE`."""

    first: str
    last: str
    length: int

    def __str__(self) -> str:
        return f"{self.length} layers, {self.first} to {self.last}"


@dataclass(frozen=True, kw_only=True)
class Structure:
    """Summary of a similarity matrix; a mean without a defined entry is None.

    Parameters
    ----------
    mean
        Mean over all entries (for two networks: the cross-model mean).
    diagonal
        Mean over the pairs of equal layers, if both networks have the same layers.
    off_diagonal
        Mean over all other entries, likewise.
    early, late
        Means over the first and the last third of the layers of both networks, without pairs of equal layers.
    block
        The longest block of similar layers, if both networks have the same layers.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> import epsball as eb
    >>> x = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    >>> twice = nn.Sequential(nn.Linear(6, 6), nn.ReLU())
    >>> print(eb.cka(twice, twice, x).structure().diagonal)
    1.0000 [1.0000, 1.0000]
    """

    mean: Bound | None
    diagonal: Bound | None
    off_diagonal: Bound | None
    early: Bound | None
    late: Bound | None
    block: Block | None

    def lines(self) -> list[tuple[str, object]]:
        """Return the name and the text of each number."""
        names = {
            "mean": "mean", "diagonal": "mean of equal layers", "off_diagonal": "mean off the diagonal",
            "early": "mean of the first third", "late": "mean of the last third",
            "block": f"longest block (all >= {ALIKE:g})",
        }  # fmt: skip
        return [(text, str(getattr(self, name))) for name, text in names.items() if getattr(self, name) is not None]

    def __str__(self) -> str:
        return text_table(("structure", "value"), self.lines())


def structure(similarity: LayerMatrix) -> Structure:
    """Return the block structure of a similarity matrix."""
    a, b = (len(names) for names in (similarity.layers_a, similarity.layers_b))
    square = similarity.layers_a == similarity.layers_b
    equal = torch.eye(a, b, dtype=torch.bool) & square
    everything = torch.ones(a, b, dtype=torch.bool)
    return Structure(
        mean=_mean(similarity, everything),
        diagonal=_mean(similarity, equal) if square else None,
        off_diagonal=_mean(similarity, ~equal) if square else None,
        early=_mean(similarity, _corner(a, b, early=True) & ~equal),
        late=_mean(similarity, _corner(a, b, early=False) & ~equal),
        block=_longest_block(similarity) if square else None,
    )


def _corner(a: int, b: int, *, early: bool) -> Bool[Tensor, "a b"]:
    """Return the entries in the first (or last) third of the layers, rounded up, of both networks."""

    def third(count: int) -> Tensor:
        position = torch.arange(count) if early else torch.arange(count).flip(0)
        return position < math.ceil(count / 3)

    return third(a)[:, None] & third(b)[None, :]


def _mean(similarity: LayerMatrix, entries: Bool[Tensor, "a b"]) -> Bound | None:
    entries = entries & ~torch.isnan(similarity.matrix)
    if not entries.any():
        return None
    error = jackknife_error(similarity.replicates[:, entries].mean(1))
    return _bound(similarity.matrix[entries].mean(), error, len(similarity.replicates))


def _bound(value: Tensor, error: Tensor, groups: int) -> Bound:
    reach = student_factor(groups, 0.95) * float(error)
    middle = float(value)
    known = math.isfinite(reach) and math.isfinite(middle)
    return Bound(
        value=middle,
        interval=Interval(middle - reach, middle + reach) if known else None,
        scope="distribution",
    )


def _longest_block(similarity: LayerMatrix) -> Block | None:
    alike = (similarity.matrix >= ALIKE) & (similarity.matrix.T >= ALIKE)
    best, start = (0, 0), 0
    for stop in range(1, len(alike) + 1):
        while not alike[start:stop, start:stop].all():
            start += 1
        best = max(best, (stop - start, start), key=lambda found: found[0])
    length, first = best
    if length < 2:
        return None
    names = similarity.layers_a
    return Block(first=names[first], last=names[first + length - 1], length=length)


@dataclass(frozen=True, kw_only=True, eq=False)
class Shift:
    """How the similarity of the same two networks differs between two data sets.

    Parameters
    ----------
    difference
        The second matrix minus the first.
    mean
        Its mean, with the interval that follows from both jackknives.
    late
        The mean over the last third of the layers.
    root_mean_square
        sqrt(mean(difference^2)): noise adds to it, too.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> import epsball as eb
    >>> x = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    >>> first, second = (eb.cka(nn.Identity(), nn.Identity(), data) for data in (x[:20], x[20:]))
    >>> shift(first, second).difference.shape
    torch.Size([1, 1])
    """

    difference: Float64[Tensor, "a b"]
    mean: Bound | None
    late: Bound | None
    root_mean_square: float

    def to_json(self) -> dict[str, object]:
        """Return the shift as JSON's types."""
        return jsonable(self)

    def __str__(self) -> str:
        rows = [
            ("mean change", str(self.mean)),
            ("mean change of the last third", str(self.late)),
            ("root mean square", self.root_mean_square),
        ]
        return text_table(("shift between the data sets", "value"), rows)


def shift(first: LayerMatrix, second: LayerMatrix) -> Shift:
    """Return the change of a similarity from one data set to another.

    Raises
    ------
    InputError
        If the two were not measured on the same layers.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> import epsball as eb
    >>> x = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    >>> first, second = (eb.cka(nn.Identity(), nn.Identity(), data) for data in (x[:20], x[20:]))
    >>> shift(first, second).root_mean_square < 1e-9
    True
    """
    if (first.layers_a, first.layers_b) != (second.layers_a, second.layers_b):
        raise InputError(
            f"the similarities have {len(first.layers_a)} x {len(first.layers_b)} and {len(second.layers_a)} "
            f"x {len(second.layers_b)} layers, or different names; a shift compares the same layers of the same "
            "networks."
        )
    difference = second.matrix - first.matrix
    a, b = difference.shape
    return Shift(
        difference=difference,
        mean=_change(first, second, torch.ones(a, b, dtype=torch.bool)),
        late=_change(first, second, _corner(a, b, early=False)),
        root_mean_square=float(difference.square().nanmean().sqrt()),
    )


def _change(first: LayerMatrix, second: LayerMatrix, entries: Bool[Tensor, "a b"]) -> Bound | None:
    """Return the change of a mean; the squares of both errors add, as the data sets are independent."""
    both = ~torch.isnan(first.matrix) & ~torch.isnan(second.matrix) & entries
    if not both.any():
        return None
    error = torch.stack([jackknife_error(s.replicates[:, both].mean(1)) for s in (first, second)]).square().sum().sqrt()
    groups = min(len(first.replicates), len(second.replicates))
    return _bound((second.matrix - first.matrix)[both].mean(), error, groups)
