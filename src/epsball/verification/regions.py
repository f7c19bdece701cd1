"""`Region`: cases of a query that share their comparisons, as boxes of floats with the rows that decide them."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from jaxtyping import Float
from torch import Tensor

from epsball.ball.exact import float_above, float_below
from epsball.verification.network import Runtime
from epsball.verification.rows import Rows
from epsball.verification.vnnlib import Case, Comparison, LinearForm

_ALWAYS = Comparison(LinearForm(constant=Fraction(-1)))
"""Stands for a conjunction of nothing: it holds at every input of its box."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Region:
    """Boxes in which the query holds where all rows of one of some conjunctions are at most 0.

    Parameters
    ----------
    cases
        The cases, exactly.
    rows
        All comparisons that occur, as functions.
    conjunctions
        Each conjunction by the numbers of its rows; the same in every case.
    low, high
        The least and the greatest float of the network's type in each box, (n, *shape).
    """

    cases: tuple[Case, ...]
    rows: Rows
    conjunctions: tuple[tuple[int, ...], ...]
    low: Tensor
    high: Tensor

    def __len__(self) -> int:
        return len(self.cases)

    @property
    def searchable(self) -> Tensor:
        """Which boxes hold a float of the network's type in every entry, (n,) of bool."""
        return (self.low <= self.high).flatten(1).all(dim=1)

    @property
    def varying(self) -> int:
        """The number of inputs that vary in some case."""
        return max(sum(low < high for low, high in zip(c.lower, c.upper, strict=True)) for c in self.cases)

    def weights(self) -> Float[Tensor, "c r k"]:
        """Return for each conjunction its rows as rows over v; repetitions fill it up to the largest number."""
        most = max(len(rows) for rows in self.conjunctions)
        every = torch.eye(len(self.rows), dtype=torch.float64)
        return torch.stack([every[[*rows, *rows[:1] * (most - len(rows))]] for rows in self.conjunctions])


def regions_of(cases: Sequence[Case], network: Runtime) -> list[Region]:
    """Return the cases, those with the same conjunctions together."""
    together: dict[tuple[tuple[Comparison, ...], ...], list[Case]] = {}
    for case in cases:
        together.setdefault(case.conjunctions, []).append(case)
    return [_region(group, network) for group in together.values()]


def _region(cases: Sequence[Case], network: Runtime) -> Region:
    conjunctions = tuple(part or (_ALWAYS,) for part in cases[0].conjunctions)
    comparisons = tuple(dict.fromkeys(one for part in conjunctions for one in part))
    number = {one: row for row, one in enumerate(comparisons)}
    shape = network.shape
    ends = [
        torch.tensor([[rounded(end, network.dtype) for end in ends] for ends in exact], dtype=torch.float64)
        for exact, rounded in (([c.lower for c in cases], float_above), ([c.upper for c in cases], float_below))
    ]
    return Region(
        cases=tuple(cases),
        rows=Rows.of(comparisons, len(cases[0].lower), network.returned),
        conjunctions=tuple(tuple(number[one] for one in part) for part in conjunctions),
        low=ends[0].to(network.dtype).view(-1, *shape),
        high=ends[1].to(network.dtype).view(-1, *shape),
    )
