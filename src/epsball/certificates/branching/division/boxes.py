"""`Boxes`: parts of domains, as boxes of inputs and bounds of nodes, and how they are cut and clipped."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from epsball.certificates.box import Box
from epsball.certificates.tensors import flat


@dataclass(frozen=True, kw_only=True, eq=False)
class Boxes:
    """Boxes that are open, each for one conjunction.

    Parameters
    ----------
    low, high
        Their ends, (n, d), float64.
    case, conjunction
        The numbers of the domain that a box is a part of, and of the conjunction, (n,).
    nodes
        Bounds on some nodes of the network that hold in all of the box, by name.
    number
        A number of each box for those who cut it, (n,), or None.
    """

    low: Tensor
    high: Tensor
    case: Tensor
    conjunction: Tensor
    nodes: Mapping[str, Box] = field(default_factory=dict)
    number: Tensor | None = None

    def __len__(self) -> int:
        return len(self.low)

    def take(self, rows: Tensor | slice) -> "Boxes":
        """Return some of the boxes."""
        return Boxes(
            low=self.low[rows],
            high=self.high[rows],
            case=self.case[rows],
            conjunction=self.conjunction[rows],
            nodes={name: Box(box.low[rows], box.high[rows]) for name, box in self.nodes.items()},
            number=None if self.number is None else self.number[rows],
        )

    @classmethod
    def joined(cls, parts: Sequence["Boxes"]) -> "Boxes":
        """Return boxes one after the other, with the bounds of those nodes that all of them have."""
        shared = set.intersection(*(set(part.nodes) for part in parts))
        numbers = [part.number for part in parts]
        return cls(
            low=torch.cat([part.low for part in parts]),
            high=torch.cat([part.high for part in parts]),
            case=torch.cat([part.case for part in parts]),
            conjunction=torch.cat([part.conjunction for part in parts]),
            nodes={
                name: Box(*(torch.cat(ends) for ends in zip(*(part.nodes[name] for part in parts), strict=True)))
                for name in parts[0].nodes
                if name in shared
            },
            number=None if any(number is None for number in numbers) else torch.cat(numbers),  # pyright: ignore[reportArgumentType, reportCallIssue]
        )

    def halves(self, entries: Int[Tensor, " n"], at: Float[Tensor, " n"], node: str | None = None) -> "Boxes":
        """Return both parts of each box beside each other, below and above a value of one entry; both hold it.

        The entry is one of the input, or of a node that the boxes have bounds of.
        """
        low, high = (self.low, self.high) if node is None else (flat(end, 1) for end in self.nodes[node])
        entries, at = entries.unsqueeze(1), at.unsqueeze(1)
        ends = (low, high.scatter(1, entries, at)), (low.scatter(1, entries, at), high)
        return Boxes.joined([self._having(node, *pair) for pair in ends]).take(_interleaved(len(self)))

    def _having(self, node: str | None, low: Tensor, high: Tensor) -> "Boxes":
        if node is None:
            return replace(self, low=low, high=high)
        shape = self.nodes[node].low.shape
        return replace(self, nodes={**self.nodes, node: Box(low.view(shape), high.view(shape))})


def taken(stack: list[Boxes], size: int) -> Boxes:
    """Take so many boxes from the top of a stack, or all that are left."""
    parts: list[Boxes] = []
    while stack and size > 0:
        top = stack.pop()
        if len(top) > size:
            stack.append(top.take(slice(0, len(top) - size)))
            top = top.take(slice(len(top) - size, len(top)))
        parts.append(top)
        size -= len(top)
    return Boxes.joined(parts)


def clipped(boxes: Boxes, bounds: Float[Tensor, "n r"], lines: Float[Tensor, "n r d"]) -> Boxes:
    """Return boxes without what lies beyond any row's line.

    A row v that is at least L + A . x - least A . x is above 0 where an input j is further than -L / abs(A_j) from the
    end at which A_j x_j is least. That room is rounded up by 2^-50 of itself, and the new end outward by one float.

    References
    ----------
    After Zhou et al., "Clip-and-Verify" (NeurIPS 2025), here by one line at a time.
    """
    room = (-bounds).clamp(min=0).unsqueeze(2) / lines.abs() * (1 + 2.0**-50)
    room = torch.where(lines == 0, math.inf, room).nan_to_num(math.inf, math.inf)
    infinity = torch.tensor(math.inf, dtype=room.dtype)
    highest = torch.where(lines > 0, room, math.inf).amin(dim=1)
    lowest = torch.where(lines < 0, room, math.inf).amin(dim=1)
    high = torch.minimum(boxes.high, torch.nextafter(boxes.low + highest, infinity))
    low = torch.maximum(boxes.low, torch.nextafter(boxes.high - lowest, -infinity))
    return replace(boxes, low=low, high=high)


def _interleaved(count: int) -> Int[Tensor, " n"]:
    """Return 0, count, 1, count + 1, ...: halves beside each other."""
    return torch.arange(2 * count).view(2, count).T.flatten()
