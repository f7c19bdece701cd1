"""A 1-D chain-like instance: 6,000 points, about 32 conflicts each, on which scipy's matching does not end.

    python benchmarks/limits/chain.py

Prints process CPU seconds of the whole call and of the matching alone (compilation excluded).
"""

import time
from fractions import Fraction

import numpy as np

from epsball.limits import optimal_risk
from epsball.limits.conflicts.graph import conflicts
from epsball.limits.conflicts.sample import sample
from epsball.limits.flow.bipartite import bipartite, sides
from epsball.limits.flow.flow import Flow

N, DEGREE = 6000, 32


def main() -> None:
    rng = np.random.default_rng(0)
    x = rng.permutation(2 * N).astype(np.float64)[:, None]
    y = (x[:, 0].astype(np.int64) + (x[:, 0] >= N)) % 2
    radius = Fraction(2 * DEGREE - 1, 4)
    optimal_risk(x[:100], y[:100], radii=[radius])
    start = time.process_time()
    result = optimal_risk(x, y, radii=[radius])
    whole = time.process_time() - start
    data = sample(x, y)
    graph = conflicts(data, "l2", (radius,))
    (network,) = bipartite(data, [graph])
    flow = Flow(network, *sides(data, data.capacity))
    start = time.process_time()
    value = flow.raise_to(0)
    matching = time.process_time() - start
    print(
        f"{2 * N} points, {len(graph)} conflicts, matched {value}, L* {result.curve[0].risk.value:.4f}: "
        f"matching {matching:.4f} s, everything {whole:.3f} s"
    )


if __name__ == "__main__":
    main()
