"""`Task`: what is to be refuted in a region, and what is refuted already."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from epsball.certificates import Arithmetic, Domain, LowerBounds, Problem, propagate
from epsball.graph import Graph
from epsball.verification.proving.greatest import with_greatest
from epsball.verification.proving.record import Record
from epsball.verification.regions import Region


@dataclass(kw_only=True, eq=False)
class Task:
    """The conjunctions of a region, of which each is refuted in a box once one of its rows is above 0 in all of it.

    A non-negative combination of a conjunction's rows serves like one of them: where all are at most 0, so is it.

    Parameters
    ----------
    region
        The region.
    graph
        The network; its parameters are taken in float64.
    arithmetic
        The claim.
    open
        The conjunctions that are not refuted yet, (n, c).
    combinations
        Further rows over v, (c, k), non-negative combinations of each conjunction's rows; 0 where there is none.
    max_memory
        Bytes for the rows carried at a time; None is no limit.
    record, number
        Where proofs are noted, or None, and the number of the region in their names.
    """

    region: Region
    graph: Graph
    arithmetic: Arithmetic
    open: Bool[Tensor, "n c"]
    combinations: Float[Tensor, "c k"]
    max_memory: int | None = None
    record: Record | None = None
    number: int = 0

    @classmethod
    def of(cls, region: Region, graph: Graph, arithmetic: Arithmetic, max_memory: int | None = None) -> "Task":
        """Return the task of refuting everything."""
        c = len(region.conjunctions)
        return cls(
            region=region,
            graph=graph,
            arithmetic=arithmetic,
            open=torch.ones(len(region), c, dtype=torch.bool),
            combinations=torch.zeros(c, len(region.rows), dtype=torch.float64),
            max_memory=max_memory,
        )

    @cached_property
    def domain(self) -> Domain:
        """The boxes, rounded outward."""
        shape = self.graph.input.shape
        found = Domain.of_box([list(c.lower) for c in self.region.cases], [list(c.upper) for c in self.region.cases])
        ends = (end.view(-1, *shape) for end in found.box)
        return Domain.of_box(*ends)

    @cached_property
    def bounded(self) -> Graph:
        """The network followed by the rows, lowered by what their coefficients lose as floats."""
        rows = self.region.rows
        if any(c != float(c) for one in rows.comparisons for _, c in one.form.terms):
            sizes = propagate(self.graph, self.domain, self.arithmetic).boxes[self.graph.output].magnitude
            rows = rows.lowered(self.domain.box.magnitude.flatten(1).amax(dim=0), sizes.amax(dim=0))
        return rows.appended_to(self.graph)

    @cached_property
    def greatest(self) -> Graph:
        """The same followed by each conjunction's greatest row: one output per conjunction."""
        return with_greatest(self.bounded, self.region.conjunctions)

    def problem(self, domain: Domain, specification: Float[Tensor, "n r k"], *, graph: Graph | None = None) -> Problem:
        """Return the problem of bounding rows over v, or over the outputs of another graph, on some boxes."""
        return Problem(
            graph=self.bounded if graph is None else graph,
            domain=domain,
            specification=specification,
            arithmetic=self.arithmetic,
            max_memory=self.max_memory,
        )

    def all_rows(self) -> Float[Tensor, "c r k"]:
        """Return each conjunction's rows over v, with its combination if any conjunction has one."""
        rows = self.region.weights()
        if not bool(self.combinations.any()):
            return rows
        none = ~self.combinations.any(dim=1, keepdim=True)
        combined = torch.where(none, rows[:, 0], self.combinations)
        return torch.cat([rows, combined.unsqueeze(1)], dim=1)

    def refute(
        self, box: int, by_row: Mapping[int, int], method: str, problem: Problem, found: LowerBounds, at: int = 0
    ) -> None:
        """Enter that conjunctions are refuted in a box, and by what.

        Parameters
        ----------
        box, by_row
            The box, and for each conjunction the row of the problem that is above 0.
        method, problem, found, at
            The bounds of a batch, the method that made them, and the place of the box in the batch.
        """
        new = [conjunction for conjunction in by_row if bool(self.open[box, conjunction])]
        self.open[box, new] = False
        if self.record is not None and new:
            name = f"proof-{self.number:03d}-{box:05d}"
            one, bounds = problem.take(slice(at, at + 1)), found.example(at)
            rows = [by_row[conjunction] for conjunction in new]
            self.record.note(name, method, one, bounds, rows=rows, conjunctions=new)

    @property
    def refuted(self) -> bool:
        """Whether nothing is open."""
        return not bool(self.open.any())
