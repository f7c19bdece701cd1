"""A deterministic classifier keeps a set of examples of which no two conflict: a bound by greedy choice."""

import numpy as np

from epsball.limits.compiled import compiled
from epsball.limits.soft import Core


def independent_mass(core: Core, weights: np.ndarray) -> float:
    """Return the mass of an independent set of the core, chosen by rising degree per weight.

    The largest independent set is hard to find; this one gives the risk of some deterministic
    classifier, an upper end for the best.
    """
    degree = np.bincount(core.rows, minlength=len(core.members)) + np.bincount(
        core.neighbour, minlength=len(core.members)
    )
    order = np.argsort(degree / np.maximum(weights, 1), kind="stable")
    both = np.concatenate([core.rows, core.neighbour]), np.concatenate([core.neighbour, core.rows])
    by_row = np.argsort(both[0], kind="stable")
    start = np.searchsorted(both[0][by_row], np.arange(len(core.members) + 1))
    return float(weights[_greedy(order, start, both[1][by_row])].sum())


@compiled()
def _greedy(order, start, neighbour):
    """Return a mask of the nodes kept: each in turn, unless a neighbour is kept already."""
    kept, blocked = np.zeros(order.shape[0], np.bool_), np.zeros(order.shape[0], np.bool_)
    for u in order:
        if not blocked[u]:
            kept[u] = True
            for e in range(start[u], start[u + 1]):
                blocked[neighbour[e]] = True
    return kept
