"""`Problem` and `LowerBounds`: what a method is given, and what it returns."""

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, Concatenate, ParamSpec

import torch
from jaxtyping import Float, Int
from torch import Tensor

from epsball.certificates.arithmetic import FLOAT32, Arithmetic
from epsball.certificates.box import Box
from epsball.certificates.branching.tree import Division, Searched, Tree
from epsball.certificates.domain import Domain
from epsball.certificates.propagation import Propagation, Refine, propagate
from epsball.certificates.slopes.neurons import NeuronSlopes
from epsball.certificates.specification import margin_rows
from epsball.graph import Graph
from epsball.graph.kinds import Parameters

Options = ParamSpec("Options")


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """Linear functions of a network's logits that are to be bounded from below over a domain.

    Parameters
    ----------
    graph
        The network; its parameters are taken in float64.
    domain
        A superset of N(x) for each of n examples, rounded outward: `Domain.of(ball, x)`.
    specification
        The rows, (n, r, classes), whose products with the logits are bounded: `margin_rows` gives z_p - z_j.
    arithmetic
        The claim: `REAL` (the real-valued network) or `FLOAT32` (the deployed one). `PLAIN` leaves every error term
        out and proves nothing.
    max_memory
        Bytes that the rows carried at a time may take, with their temporaries; None means no limit.
    budget, cpu_seconds
        Passes and CPU seconds that a search may take per example; None means no limit. Only `complete` searches.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> from epsball.graph import capture
    >>> graph = capture(torch.nn.Linear(2, 2, bias=False).requires_grad_(False), (2,))
    >>> domain = eb.certificates.Domain.of(eb.Ball("linf", "1/10"), torch.full((1, 2), 0.5))
    >>> problem = eb.certificates.Problem.of(graph, domain, torch.tensor([0]))
    >>> problem.specification
    tensor([[[ 1., -1.]]], dtype=torch.float64)
    """

    graph: Graph
    domain: Domain
    specification: Float[Tensor, "n r classes"]
    arithmetic: Arithmetic = FLOAT32
    max_memory: int | None = None
    budget: int | None = None
    cpu_seconds: float | None = None

    @classmethod
    def of(
        cls,
        graph: Graph,
        domain: Domain,
        predicted: Int[Tensor, " n"],
        *,
        arithmetic: Arithmetic = FLOAT32,
        max_memory: int | None = None,
    ) -> "Problem":
        """Return the problem of bounding z_p - z_j for the predicted class p and every other class j."""
        rows = margin_rows(predicted, graph.classes)
        return cls(graph=graph, domain=domain, specification=rows, arithmetic=arithmetic, max_memory=max_memory)

    def __len__(self) -> int:
        """Return n, the number of examples."""
        return len(self.specification)

    def take(self, rows: Tensor | slice) -> "Problem":
        """Return the problem for some of the examples."""
        return replace(self, domain=self.domain.take(rows), specification=self.specification[rows])

    def propagate(
        self,
        *,
        parameters: Parameters | None = None,
        boxes: Mapping[str, Box] | None = None,
        refine: Refine | None = None,
    ) -> Propagation:
        """Return bounds on every node of the network over the domain; the options are those of `propagate`."""
        return propagate(self.graph, self.domain, self.arithmetic, parameters=parameters, boxes=boxes, refine=refine)


@dataclass(frozen=True, kw_only=True, eq=False)
class LowerBounds:
    """Lower bounds of a specification, and what they stand on.

    Parameters
    ----------
    rows
        The bounds, (n, r), float64; -infinity where nothing is known.
    boxes
        Bounds on the value of every node.
    slopes
        Where lower slopes of rectifiers were chosen for each row: (n, r, *shape) by node.
    neuron_slopes
        By example, neurons whose bounds were proved with lower slopes of their own.
    passes
        By example, the passes that were spent on these; their number is not known before.
    trees
        By example, the trees of the rows that were proved by splits; the other rows need none.
    searched
        By example, what a search came to, where there was one.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> eb.certificates.LowerBounds(rows=torch.tensor([[0.5, -0.1]]), boxes={}).rows.amin(dim=1)
    tensor([-0.1000])
    """

    rows: Tensor
    boxes: Mapping[str, Box]
    slopes: Mapping[str, Tensor] = field(default_factory=dict)
    neuron_slopes: Mapping[int, Sequence[NeuronSlopes]] = field(default_factory=dict)
    passes: Mapping[int, int] = field(default_factory=dict)
    trees: Mapping[int, Sequence[Tree | Division]] = field(default_factory=dict)
    searched: Mapping[int, Searched] = field(default_factory=dict)

    @classmethod
    def joined(cls, parts: Sequence["LowerBounds"], graph: Graph) -> "LowerBounds":
        """Return the bounds of all examples, given those of some after the other; constants have the boxes of any."""
        boxes = {
            name: box
            if name in graph.constant
            else Box(*(torch.cat(ends) for ends in zip(*(part.boxes[name] for part in parts), strict=True)))
            for name, box in parts[0].boxes.items()
        }
        starts = list(accumulate((len(part.rows) for part in parts), initial=0))

        def numbered(name: str) -> dict[int, Any]:
            named = ((start, getattr(part, name)) for start, part in zip(starts, parts, strict=False))
            return {start + at: value for start, values in named for at, value in values.items()}

        return cls(
            rows=torch.cat([part.rows for part in parts]),
            boxes=boxes,
            slopes={name: torch.cat([part.slopes[name] for part in parts]) for name in parts[0].slopes},
            neuron_slopes=numbered("neuron_slopes"),
            passes=numbered("passes"),
            trees=numbered("trees"),
            searched=numbered("searched"),
        )

    @property
    def entries(self) -> Mapping[int, Sequence[NeuronSlopes]]:
        """The old name of `neuron_slopes`, until 0.3."""
        return self.neuron_slopes

    def example(self, number: int) -> "LowerBounds":
        """Return the bounds of one example, as a batch of one."""
        at = slice(number, number + 1)
        return LowerBounds(
            rows=self.rows[at],
            boxes={name: box.take(at) for name, box in self.boxes.items()},
            slopes={name: slope[at] for name, slope in self.slopes.items()},
            neuron_slopes={0: self.neuron_slopes[number]} if number in self.neuron_slopes else {},
            trees={0: self.trees[number]} if number in self.trees else {},
            searched={0: self.searched[number]} if number in self.searched else {},
        )

    def with_examples(self, found: Mapping[int, "LowerBounds"]) -> "LowerBounds":
        """Return the bounds with those of some examples, by number, replaced; what all examples share is as found."""
        return replace(
            self,
            rows=_with_rows(self.rows, {number: one.rows for number, one in found.items()}),
            boxes={
                name: Box(
                    _with_rows(box.low, {number: one.boxes[name].low for number, one in found.items()}),
                    _with_rows(box.high, {number: one.boxes[name].high for number, one in found.items()}),
                )
                for name, box in self.boxes.items()
            },
            slopes={
                name: _with_rows(slope, {number: one.slopes[name] for number, one in found.items()})
                for name, slope in self.slopes.items()
            },
            neuron_slopes={**self.neuron_slopes, **{number: one.neuron_slopes[0] for number, one in found.items()}},
        )


def _with_rows(tensor: Tensor, found: Mapping[int, Tensor]) -> Tensor:
    """Return a tensor with some of its rows replaced; one that all examples share is replaced as a whole."""
    if len(tensor) == 1 and found:
        return list(found.values())[-1]
    new = tensor.clone()
    for number, rows in found.items():
        new[number] = rows[0]
    return new


def old_calls_too(
    method: Callable[Concatenate[Problem, Options], LowerBounds],
) -> Callable[Concatenate[Problem, Options], LowerBounds]:
    """Let a method also be called as in 0.1: ``method(graph, domain, specification, arithmetic=...)``, until 0.3."""

    @functools.wraps(method)
    def called(problem: Any, *old: Any, **options: Any) -> LowerBounds:
        if not isinstance(problem, Problem):
            warnings.warn(
                f"{method.__name__}(graph, domain, specification, ...) is the call of version 0.1 and goes with 0.3; "
                f"write {method.__name__}(Problem(graph=graph, domain=domain, specification=specification, ...)).",
                DeprecationWarning,
                stacklevel=2,
            )
            named = dict(zip(("graph", "domain", "specification"), (problem, *old), strict=False))
            named |= {name: options.pop(name) for name in Problem.__dataclass_fields__ if name in options}
            if options.get("boxes", ()) is None:
                del options["boxes"]
            problem, old = Problem(**named), ()
        return method(problem, *old, **options)

    return called
