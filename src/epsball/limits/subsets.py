"""L* of parts of a sample from the conflict graph of the whole: no distance is computed twice."""

from fractions import Fraction

import numpy as np
from jaxtyping import Float, Int64

from epsball.limits.conflicts.graph import Conflicts
from epsball.limits.conflicts.sample import Sample
from epsball.limits.flow.bipartite import double_cover, two_classes
from epsball.limits.flow.flow import Flow
from epsball.limits.generalisation import SampleCurve, sample_curve


def sample_curve_of(data: Sample, graph: Conflicts, radii: tuple[Fraction, ...], *, seed: int = 0) -> SampleCurve:
    """Return L* at n/4, n/2 and n over pairs of examples, with its verdict at each radius."""
    two = len(data.classes) == 2
    problem = two_classes(graph, data) if two else double_cover(graph)
    first = int(data.bounds[1]) if two else 0
    position = np.empty(len(data), dtype=np.int64)
    position[data.order] = np.arange(len(data))
    levels = [graph.radii.index(radius) for radius in radii]

    def risk(members: Int64[np.ndarray, " m"]) -> Float[np.ndarray, " radii"]:
        capacity = np.zeros_like(data.capacity)
        inside = position[members]
        capacity[inside] = data.capacity[inside]
        sides = (capacity[:first], capacity[first:]) if two else (capacity, capacity)
        # Examples without capacity send and receive nothing, as if they were absent.
        flow = Flow(problem, *sides)
        mass = float(capacity.sum()) * (1 if two else 2)
        return np.array([flow.raise_to(level) / mass for level in levels])

    everyone = np.arange(len(data))
    return sample_curve(
        risk,
        risk(everyone),
        data.to_caller(data.labels),
        np.array([float(radius) for radius in radii]),
        weights=data.to_caller(data.capacity / data.capacity.sum()),
        seed=seed,
    )
