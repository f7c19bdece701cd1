"""The methods: interval, crown-ibp, forward, crown and optimised bounds on a specification."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from epsball.certificates.arithmetic import FLOAT32, Arithmetic
from epsball.certificates.box import Box
from epsball.certificates.domain import Domain
from epsball.certificates.linear import refiner
from epsball.certificates.linear.coefficients import Coefficients
from epsball.certificates.linear.forward import examples_at_once, forward_refiner
from epsball.certificates.linear.sweep import final_bounds, sweep
from epsball.certificates.propagation import Propagation, propagate
from epsball.certificates.slopes.final import optimised_slopes
from epsball.certificates.slopes.intermediate import with_intermediate_slopes
from epsball.certificates.slopes.neurons import Entries
from epsball.graph import Graph
from epsball.graph.kinds import Parameters


@dataclass(frozen=True, kw_only=True)
class LowerBounds:
    """Lower bounds of a specification, and what they stand on.

    Parameters
    ----------
    rows
        The bounds, (n, rows), float64; -infinity where nothing is known.
    boxes
        Bounds on the value of every node.
    slopes
        The lower slope chosen for each rectifier, where it was chosen for each row: (n, rows, *shape) by node.
    entries
        Of examples, by number, entries of nodes whose bounds were proved with lower slopes of their own.
    passes
        Of examples, by number, the passes of these rows: how many there are is not known before.
    """

    rows: Tensor
    boxes: Mapping[str, Box]
    slopes: Mapping[str, Tensor] = field(default_factory=dict)
    entries: Mapping[int, Sequence[Entries]] = field(default_factory=dict)
    passes: Mapping[int, int] = field(default_factory=dict)


def interval(
    graph: Graph,
    domain: Domain,
    specification: Float[Tensor, "n r classes"],
    *,
    arithmetic: Arithmetic = FLOAT32,
    boxes: Mapping[str, Box] | None = None,
    max_memory: int | None = None,
    parameters: Parameters | None = None,
) -> LowerBounds:
    """Bound by intervals, with the specification folded into the last layer.

    With `PLAIN` arithmetic and live parameters the result is differentiable in them.

    References
    ----------
    Gowal et al., "On the effectiveness of interval bound propagation for training verifiably robust models"
    (2018).
    """
    bounds = propagate(graph, domain, arithmetic, parameters=parameters, boxes=boxes)
    last = graph[graph.output]
    stop = last.inputs if bounds.form(last) is not None else (last.name,)
    rows = sweep(bounds, last.name, Coefficients(specification), stop=stop)
    return LowerBounds(rows=rows, boxes=bounds.boxes)


def crown_ibp(
    graph: Graph,
    domain: Domain,
    specification: Float[Tensor, "n r classes"],
    *,
    arithmetic: Arithmetic = FLOAT32,
    boxes: Mapping[str, Box] | None = None,
    max_memory: int | None = None,
    parameters: Parameters | None = None,
) -> LowerBounds:
    """Bound by one backward sweep of the specification, with intermediate bounds from intervals.

    References
    ----------
    Zhang et al., "Towards stable and efficient training of verifiably robust neural networks" (ICLR 2020).
    """
    bounds = propagate(graph, domain, arithmetic, parameters=parameters, boxes=boxes)
    return LowerBounds(rows=final_bounds(bounds, specification, max_memory=max_memory), boxes=bounds.boxes)


def crown(
    graph: Graph,
    domain: Domain,
    specification: Float[Tensor, "n r classes"],
    *,
    arithmetic: Arithmetic = FLOAT32,
    boxes: Mapping[str, Box] | None = None,
    max_memory: int | None = None,
) -> LowerBounds:
    """Bound by backward sweeps, of the specification and of every intermediate entry that needs it.

    References
    ----------
    Zhang et al., "Efficient neural network robustness certification with general activation functions"
    (NeurIPS 2018); Singh et al., "An abstract domain for certifying neural networks" (POPL 2019).
    """
    bounds = propagate(graph, domain, arithmetic, boxes=boxes, refine=refiner(max_memory))
    return LowerBounds(rows=final_bounds(bounds, specification, max_memory=max_memory), boxes=bounds.boxes)


def forward(
    graph: Graph,
    domain: Domain,
    specification: Float[Tensor, "n r classes"],
    *,
    arithmetic: Arithmetic = FLOAT32,
    boxes: Mapping[str, Box] | None = None,
    max_memory: int | None = None,
) -> LowerBounds:
    """Bound by one backward sweep of the specification, with intermediate bounds from linear functions of the input.

    Where the input has fewer entries than a node has undecided ones; elsewhere intermediate bounds are `crown`'s.

    References
    ----------
    Xu et al., "Automatic perturbation analysis for scalable certified robustness and beyond" (NeurIPS 2020).
    """
    many = examples_at_once(graph, max_memory)
    if len(domain) > many:
        parts = [slice(start, start + many) for start in range(0, len(domain), many)]
        known = [{name: box.take(part) for name, box in (boxes or {}).items()} for part in parts]
        found = [
            forward(
                graph, domain.take(part), specification[part], arithmetic=arithmetic, boxes=own, max_memory=max_memory
            )
            for part, own in zip(parts, known, strict=True)
        ]
        return _joined(found, graph)
    bounds = propagate(graph, domain, arithmetic, boxes=boxes, refine=forward_refiner(max_memory))
    return LowerBounds(rows=final_bounds(bounds, specification, max_memory=max_memory), boxes=bounds.boxes)


def optimised(
    graph: Graph,
    domain: Domain,
    specification: Float[Tensor, "n r classes"],
    *,
    arithmetic: Arithmetic = FLOAT32,
    boxes: Mapping[str, Box] | None = None,
    max_memory: int | None = None,
    steps: int = 10,
    step_size: float = 0.25,
) -> LowerBounds:
    """Bound like `crown`, then optimise the lower slopes of every rectifier, one for each row.

    Any slopes give a bound that holds: the ascent runs without error terms, and its best slopes are
    bounded once with them. Never below `crown`.

    Parameters
    ----------
    graph, domain, specification, arithmetic, boxes, max_memory
        As for every method.
    steps, step_size
        Steps of Adam, and the size of the first; it decays to a tenth.

    References
    ----------
    Xu et al., "Fast and complete: enabling complete verification with rapid and massively parallel incomplete
    verifiers" (ICLR 2021).
    """
    refine = refiner(max_memory, extremes=True)
    bounds = propagate(graph, domain, arithmetic, boxes=boxes, refine=refine)
    first = final_bounds(bounds, specification, max_memory=max_memory)
    slopes = optimised_slopes(bounds, specification, steps=steps, step_size=step_size, max_memory=max_memory)
    found = final_bounds(bounds, specification, slopes=slopes, max_memory=max_memory)
    slopes = {
        name: torch.where(_rowwise(found > first, slope), slope, _own(bounds, name)) for name, slope in slopes.items()
    }
    better = with_intermediate_slopes(
        bounds,
        specification,
        first,
        torch.maximum(first, found),
        slopes,
        steps=steps,
        step_size=step_size,
        max_memory=max_memory,
    )
    return LowerBounds(
        rows=better.rows, boxes=better.boxes, slopes=better.slopes, entries=better.entries, passes=better.passes
    )


def _joined(parts: list[LowerBounds], graph: Graph) -> LowerBounds:
    """Return the bounds of all examples; the boxes of constants are those of any part."""
    boxes = {
        name: box
        if name in graph.constant
        else Box(*(torch.cat(ends) for ends in zip(*(p.boxes[name] for p in parts), strict=True)))
        for name, box in parts[0].boxes.items()
    }
    return LowerBounds(rows=torch.cat([part.rows for part in parts]), boxes=boxes)


def _rowwise(condition: Tensor, like: Tensor) -> Tensor:
    """Return a condition on rows, (n, r), with the axes of (n, r, *shape)."""
    return condition.view(*condition.shape, *(1,) * (like.ndim - 2))


def _own(bounds: Propagation, name: str) -> Tensor:
    """Return the lower slopes that a relaxation chose by itself, (n, 1, *shape)."""
    return bounds.relaxation(bounds.graph[name]).lower_slope
