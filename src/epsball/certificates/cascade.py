"""The cascade: methods in the order of their cost, each example stopping at its first certificate."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from epsball.certificates.box import Box
from epsball.certificates.branching.tree import Ending
from epsball.certificates.problem import LowerBounds, Problem
from epsball.certificates.registry import Method
from epsball.certificates.specification import by_class, separations
from epsball.certificates.yields import is_worth, lacking
from epsball.errors import UnsupportedOperation

CRITERION = "criterion"
"""What made an example stable where a method's bounds of the margins alone did not, but with those of the logits."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Proof:
    """The bounds of one example by one method.

    Parameters
    ----------
    method, predicted
        The method's name, and the predicted class that the margins are about.
    problem, bounds
        What was bounded, and the bounds: batches of one.
    """

    method: str
    predicted: int
    problem: Problem
    bounds: LowerBounds


@dataclass(kw_only=True, eq=False)
class CascadeResult:
    """What the cascade found for some examples.

    Parameters
    ----------
    margins
        Lower bounds of the least margin by method, (n,), NaN where the method was not run.
    separated
        Whether the logits' own bounds keep the predicted one above all others (the chapter's criterion).
    passes, seconds
        Cost of each example.
    by
        For each example that became stable, by number, the method that made it so.
    proofs
        What proves it, likewise.
    endings
        For each example that a search gave up, how it ended.
    too_large
        For each example whose certificate is too large to be written, its bytes.
    met
        For each example at which a search met a point that is given another class, nearly or quite, that point.
    """

    margins: dict[str, Tensor]
    separated: Tensor
    passes: Tensor
    seconds: Tensor
    by: dict[int, str] = field(default_factory=dict)
    proofs: dict[int, Proof] = field(default_factory=dict)
    endings: dict[int, Ending] = field(default_factory=dict)
    met: dict[int, Tensor] = field(default_factory=dict)
    too_large: dict[int, int] = field(default_factory=dict)

    @classmethod
    def nothing(cls, n: int, names: Iterable[str]) -> "CascadeResult":
        """Return what is known of n examples before any method ran."""
        return cls(
            margins={name: torch.full((n,), torch.nan, dtype=torch.float64) for name in names},
            separated=torch.zeros(n, dtype=torch.bool),
            passes=torch.zeros(n, dtype=torch.int64),
            seconds=torch.zeros(n, dtype=torch.float64),
        )

    def include(self, rows: Tensor, batch: "CascadeResult") -> None:
        """Take over what was found for some of the examples, without the proofs."""
        for name, bounds in batch.margins.items():
            self.margins[name][rows] = bounds
        self.separated[rows], self.passes[rows], self.seconds[rows] = batch.separated, batch.passes, batch.seconds
        self.by |= {int(rows[at]): method for at, method in batch.by.items()}
        self.endings |= {int(rows[at]): ending for at, ending in batch.endings.items()}
        self.too_large |= {int(rows[at]): size for at, size in batch.too_large.items()}
        self.met |= {int(rows[at]): point for at, point in batch.met.items()}

    def forget(self, rows: Tensor) -> None:
        """Take back what was found for some of the examples, (n,) of bool: nothing is known of them."""
        for bounds in self.margins.values():
            bounds[rows & ~bounds.isnan()] = -torch.inf
        self.separated &= ~rows
        self.by = {row: method for row, method in self.by.items() if not bool(rows[row])}
        self.proofs = {row: proof for row, proof in self.proofs.items() if not bool(rows[row])}

    def best(self) -> Tensor:
        """Return the largest lower bound over the methods run, (n,); NaN where none was."""
        every = torch.stack(list(self.margins.values()))
        return every.masked_fill(every.isnan(), -torch.inf).amax(dim=0).masked_fill(every.isnan().all(dim=0), torch.nan)


def run_cascade(
    problem: Problem,
    predicted: Tensor,
    methods: Mapping[str, Method],
    *,
    budget: int | None = None,
    cpu_seconds: float | None = None,
) -> CascadeResult:
    """Run the methods over a batch, each on the examples that none before it made stable.

    Where the last one searches, the others are left out on examples for which they are not worth their passes
    (`is_worth`): what they would cost is left for the search. An operation that it cannot search through leaves the
    examples as they are; a method that runs alone raises.

    Parameters
    ----------
    problem
        What is bounded: the margins of the predicted classes.
    predicted
        The predicted class of each example.
    methods
        The methods by name, cheapest first.
    budget
        Passes an example may cost; a method that would exceed it is not run. What `optimised` spends on intermediate
        slopes is counted, but not known before.
    cpu_seconds
        CPU seconds that an example may cost, the methods before a search included; only a search looks at them.
    """
    search = next((method for method in methods.values() if method.searches and len(methods) > 1), None)
    found = CascadeResult.nothing(len(problem), methods)
    boxes: Mapping[str, Box] = {}
    rows = torch.arange(len(problem))
    for name, method in methods.items():
        if not len(rows):
            break
        price = method.cost(problem.take(rows), boxes)
        if budget is not None:
            keep = found.passes[rows] + price <= budget
            rows, price, boxes = rows[keep], price[keep], _taken(boxes, keep)
        if not len(rows):
            break
        runs = torch.ones(len(rows), dtype=torch.bool)
        if search is not None and not method.searches:
            one = problem.take(rows)
            runs = is_worth(name, lacking(one, found.best()[rows]), price, search.cost(one, boxes))
        done, cost = rows[runs], price[runs]
        if not len(done):
            continue
        begun = time.process_time()
        # Each method starts from scratch: the checker, told one method, could not derive what another handed on.
        if method.searches:
            try:
                bounds = _searched(problem, method, done, found, cost, budget, cpu_seconds)
            except UnsupportedOperation:
                if search is None:
                    raise
                break
        else:
            left = None if budget is None else budget - int((found.passes[done] + cost).max())
            bounds = method(replace(problem.take(done), budget=left))
            found.seconds[done] += (time.process_time() - begun) / len(done)
        stable = _note(found, name, done, bounds, problem, predicted)
        found.passes[done] += cost
        for at, one in bounds.searched.items():
            if not bool(stable[at]):
                found.endings[int(done[at])] = one.ending
                if one.witness is not None:
                    found.met[int(done[at])] = one.witness
        for at, more in bounds.passes.items():
            found.passes[done[at]] += more
        still = torch.ones(len(rows), dtype=torch.bool)
        still[runs] = ~stable
        boxes = _taken(bounds.boxes if bool(runs.all()) else boxes, still)
        rows = rows[still]
    return found


def _searched(
    problem: Problem,
    method: Method,
    rows: Tensor,
    found: CascadeResult,
    price: Tensor,
    budget: int | None,
    cpu_seconds: float | None,
) -> LowerBounds:
    """Return the bounds of a search, example by example, each with what is left of its passes and seconds."""
    each = []
    for row, own in zip(rows.tolist(), price.tolist(), strict=True):
        begun = time.process_time()
        limits = {
            "budget": None if budget is None else max(0, budget - int(found.passes[row]) - own),
            "cpu_seconds": None if cpu_seconds is None else max(0.0, cpu_seconds - float(found.seconds[row])),
        }
        each.append(method(replace(problem.take(slice(row, row + 1)), **limits)))
        found.seconds[row] += time.process_time() - begun
    return LowerBounds.joined(each, problem.graph)


def _note(
    found: CascadeResult, name: str, rows: Tensor, bounds: LowerBounds, problem: Problem, predicted: Tensor
) -> Tensor:
    """Record a method's bounds; return which of the rows are stable by them.

    Where its bounds of the margins leave an example open, those of the logits may close it, which join several bounds:
    z_p - z_j is at least low_p - high_j, rounded down. That is no proof of the method's own, and has no file.
    """
    least, p = bounds.rows.min(dim=1).values, predicted[rows]
    apart = separations(bounds.boxes[problem.graph.output], p)
    found.separated[rows] |= (apart > 0).all(dim=1)
    both = torch.maximum(by_class(bounds.rows, p), apart).amin(dim=1)
    stable, closed = least > 0, (least <= 0) & (both > 0)
    found.margins[name][rows] = torch.where(closed, both, least)
    found.by |= {int(rows[at]): CRITERION for at in torch.nonzero(closed)[:, 0].tolist()}
    for at in torch.nonzero(stable)[:, 0].tolist():
        row = int(rows[at])
        found.by[row] = name
        found.proofs[row] = Proof(
            method=name,
            predicted=int(predicted[row]),
            problem=problem.take(slice(row, row + 1)),
            bounds=bounds.example(at),
        )
    return stable | closed


def _taken(boxes: Mapping[str, Box], rows: Tensor) -> dict[str, Box]:
    return {name: box.take(rows) for name, box in boxes.items()}
