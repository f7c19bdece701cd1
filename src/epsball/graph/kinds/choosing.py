"""Kinds that jump: comparisons, whose values are 0 and 1, the choice between two values by one, and whole numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from epsball.graph.kinds.kind import Parameters

Relation = Literal["gt", "ge", "lt", "le", "eq", "ne"]
RELATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "gt": torch.gt,
    "ge": torch.ge,
    "lt": torch.lt,
    "le": torch.le,
    "eq": torch.eq,
    "ne": torch.ne,
}


@dataclass(frozen=True, kw_only=True)
class Compare:
    """1 where a is greater than b (`relation` "gt"), or in another relation to it, else 0."""

    relation: Relation

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return 1 where the relation holds."""
        a, b = values
        return RELATIONS[self.relation](a, b).to(a.dtype)


Rounding = Literal["floor", "ceil", "round"]
_ROUNDINGS: dict[str, Callable[[Tensor], Tensor]] = {"floor": torch.floor, "ceil": torch.ceil, "round": torch.round}


@dataclass(frozen=True, kw_only=True)
class Round:
    """The whole number below x (`direction` "floor"), above it, or next to it; of two that are as near the even one."""

    direction: Rounding

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return whole numbers."""
        (x,) = values
        return _ROUNDINGS[self.direction](x)


@dataclass(frozen=True, kw_only=True)
class Select:
    """a where c is not 0, else b, for the inputs c, a and b."""

    def forward(self, *values: Tensor, parameters: Parameters) -> Tensor:
        """Return the chosen entries."""
        c, a, b = values
        return torch.where(c != 0, a, b)
