"""The cascade: methods in the order of their cost, each example stopping at its first certificate."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from epsball.certificates.arithmetic import Arithmetic
from epsball.certificates.box import Box
from epsball.certificates.domain import Domain
from epsball.certificates.linear.refinement import neurons_to_refine
from epsball.certificates.methods import LowerBounds
from epsball.certificates.propagation import Propagation, propagate
from epsball.certificates.registry import METHODS
from epsball.certificates.specification import chapter_criterion, margins
from epsball.graph import Graph

BATCH = 32
"""Examples bounded together."""

STEPS = 10
"""Steps of `optimised`."""


@dataclass(kw_only=True, eq=False)
class Bounded:
    """What the cascade found for a batch.

    Parameters
    ----------
    margins
        Lower bounds of the least margin by method, (n,), NaN where it was not run.
    criterion
        Whether the chapter's criterion holds by the logits' own bounds.
    passes, seconds
        Cost of each example.
    proofs
        For each example that became stable, the method and its bounds.
    """

    margins: dict[str, Tensor]
    criterion: Tensor
    passes: Tensor
    seconds: Tensor
    proofs: dict[int, "Proof"] = field(default_factory=dict)

    @classmethod
    def nothing(cls, n: int, names: Sequence[str]) -> "Bounded":
        """Return what is known of n examples before any method ran."""
        return cls(
            margins={name: torch.full((n,), torch.nan, dtype=torch.float64) for name in names},
            criterion=torch.zeros(n, dtype=torch.bool),
            passes=torch.zeros(n, dtype=torch.int64),
            seconds=torch.zeros(n, dtype=torch.float64),
        )

    def include(self, rows: Tensor, batch: "Bounded") -> None:
        """Take over what was found for some of the examples."""
        for name, bounds in batch.margins.items():
            self.margins[name][rows] = bounds
        self.criterion[rows], self.passes[rows], self.seconds[rows] = batch.criterion, batch.passes, batch.seconds
        self.proofs |= {int(rows[at]): proof for at, proof in batch.proofs.items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class Proof:
    """The bounds of one example by one method: a batch of one."""

    method: str
    bounds: LowerBounds


def run_cascade(
    graph: Graph,
    domain: Domain,
    predicted: Tensor,
    names: Sequence[str],
    arithmetic: Arithmetic,
    *,
    budget: int | None = None,
    max_memory: int | None = None,
) -> Bounded:
    """Run the methods over a batch, each on the examples that none before it made stable.

    Parameters
    ----------
    graph, domain, arithmetic
        The network, the balls, and the claim.
    predicted
        The class each example's margins are about.
    names
        The methods, cheapest first.
    budget
        Passes an example may cost; a method that would exceed it is not begun. What `optimised` spends on intermediate
        slopes is counted, but not known before.
    max_memory
        Bytes, for the methods that carry rows.
    """
    found = Bounded.nothing(len(domain), names)
    boxes: Mapping[str, Box] = {}
    rows = torch.arange(len(domain))
    for name in names:
        if not len(rows):
            break
        price = cost(name, propagate(graph, domain.take(rows), arithmetic, boxes=boxes))
        if budget is not None:
            keep = found.passes[rows] + price <= budget
            rows, price, boxes = rows[keep], price[keep], _taken(boxes, keep)
        if not len(rows):
            break
        begun = time.process_time()
        specification = margins(predicted[rows], graph.classes)
        # A method starts afresh: what it inherited, the checker, which is told one method, could not derive.
        bounds = METHODS[name](graph, domain.take(rows), specification, arithmetic=arithmetic, max_memory=max_memory)
        stable = _note(found, name, rows, bounds, predicted, graph.output)
        found.passes[rows] += price
        for at, more in bounds.passes.items():
            found.passes[rows[at]] += more
        found.seconds[rows] += (time.process_time() - begun) / len(rows)
        rows, boxes = rows[~stable], _taken(bounds.boxes, ~stable)
    return found


def _note(found: Bounded, name: str, rows: Tensor, bounds: LowerBounds, predicted: Tensor, output: str) -> Tensor:
    """Record a method's bounds; return which of the rows are stable by them."""
    least = bounds.rows.min(dim=1).values
    logits = bounds.boxes[output]
    found.margins[name][rows] = least
    found.criterion[rows] |= chapter_criterion(logits, predicted[rows])
    stable = least > 0
    for at in torch.nonzero(stable)[:, 0].tolist():
        found.proofs[int(rows[at])] = Proof(method=name, bounds=_row(bounds, at))
    return stable


def _taken(boxes: Mapping[str, Box], rows: Tensor) -> dict[str, Box]:
    return {name: box.take(rows) for name, box in boxes.items()}


def cost(name: str, bounds: Propagation) -> Tensor:
    """Return the passes a method costs each example, (n,): two for intervals, one for each row carried backwards.

    An optimised step carries every final row back and forth. Forward bounds carry two columns for each entry of the
    input, instead of two rows for each undecided entry of the nodes that have more of them.
    """
    n, rows = len(bounds.domain), bounds.graph.classes - 1
    final = {"interval": 2, "lipschitz": 4 + rows, "crown-ibp": 2 + rows, "optimised": 2 + rows + 2 * STEPS * rows}
    total = torch.full((n,), final.get(name, 2 + rows), dtype=torch.int64)
    if name not in ("forward", "crown", "optimised"):
        return total
    counts = [
        entries.flatten(1).sum(dim=1)
        for node in bounds.graph.nodes
        if (entries := neurons_to_refine(bounds, node)) is not None
    ]
    columns = math.prod(bounds.graph.input.shape)
    carried = [name == "forward" and int(count.max()) > columns for count in counts]
    total += 2 * columns * any(carried)
    for count, forward in zip(counts, carried, strict=True):
        total += 0 if forward else 2 * count
    return total


def _row(bounds: LowerBounds, at: int) -> LowerBounds:
    one = slice(at, at + 1)
    return LowerBounds(
        rows=bounds.rows[one],
        boxes={name: box.take(one) for name, box in bounds.boxes.items()},
        slopes={name: slope[one] for name, slope in bounds.slopes.items()},
        entries={0: bounds.entries[at]} if at in bounds.entries else {},
    )
