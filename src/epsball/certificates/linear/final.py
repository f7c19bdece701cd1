"""The sweep of a specification, in chunks of examples and rows."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from epsball.certificates.linear.relaxations import join_all
from epsball.certificates.linear.refinement import room_for
from epsball.certificates.linear.coefficients import Rows
from epsball.certificates.linear.sweep import Slopes, sweep
from epsball.certificates.linear.windows import largest_extent
from epsball.certificates.propagation import Propagation


def final_bounds(
    bounds: Propagation,
    specification: Float[Tensor, "n r classes"],
    *,
    slopes: Slopes | None = None,
    max_memory: int | None = None,
) -> Float[Tensor, "n r"]:
    """Return lower bounds of the specification, carried from the output to the input."""
    found = []
    for images in chunks(bounds, specification, max_memory):
        part = {name: slope[images] for name, slope in (slopes or {}).items()}
        found.append(sweep(bounds.take(images), bounds.graph.output, Rows(specification[images]), slopes=part))
    return torch.cat(found)


def chunks(bounds: Propagation, specification: Tensor, max_memory: int | None) -> Iterator[slice]:
    """Yield slices of the examples whose rows fit into the cache, or into `max_memory`; at least one each."""
    graph = bounds.graph
    join_all(bounds)
    extent = largest_extent(graph, graph[graph.output], None)
    each = max(1, room_for(max_memory) // (8 * extent * specification.shape[1]))
    for start in range(0, len(specification), each):
        yield slice(start, start + each)
