"""Compiled search for hyperedges: examples of distinct classes whose balls share one point.

A set whose balls meet jointly meets pairwise, so hyperedges are cliques of the conflict graph. In
linf every clique is one (intervals have Helly number two). In l2 the smallest ball around the
points decides, and in l1 three balls that meet in pairs meet jointly (walk from the median of the
three towards the farthest one); larger sets in l1, and ties in l2, are returned as undecided.
"""

from typing import NamedTuple

import numpy as np

from epsball.compiled import compiled

ALWAYS, L2, L1 = 0, 1, 2
_STEPS = 20000
_RISE = 1e-9
_SHUFFLE = _RISE / 2**16
_TRIES = 32


class Cliques(NamedTuple):
    """A conflict graph, and the rule by which its cliques are hyperedges.

    Attributes
    ----------
    start, neighbour
        Compressed rows, each edge in its lower row (the row of the lower class), ascending by neighbour.
    key
        Squared distance of each edge, for the rule `L2`.
    labels
        Class of each node.
    rule, square, slack
        `ALWAYS`, `L2` or `L1`; squared radius and relative error of the keys.
    """

    start: np.ndarray
    neighbour: np.ndarray
    key: np.ndarray
    labels: np.ndarray
    rule: int
    square: float
    slack: float


@compiled(inline="always")
def _edge(graph, u, v):
    """Return the position of the edge between u and v, or -1; it stands in the lower row, which ascends."""
    row, end = min(u, v), max(u, v)
    low, high = graph.start[row], graph.start[row + 1]
    while low < high:
        middle = (low + high) // 2
        if graph.neighbour[middle] < end:
            low = middle + 1
        else:
            high = middle
    return low if low < graph.start[row + 1] and graph.neighbour[low] == end else -1


@compiled()
def enclosing_ball(D, k, square, slack):
    """Return whether points with squared distances D lie in a ball of squared radius `square`: 1, 0, or -1.

    For weights w on the simplex, max_i (D w)_i - w'Dw / 2 is the squared radius around sum w_i x_i
    and w'Dw / 2 a lower bound of the smallest; pairwise Frank-Wolfe steps bring both together until
    one of them decides. -1: they met within the rounding error, or `D`'s own relative error `slack`.
    """
    w = np.full(k, 1.0 / k)
    g = np.zeros(k)
    for step in range(_STEPS):
        if step % 64 == 0:
            for i in range(k):
                g[i] = 0.0
                for j in range(k):
                    g[i] += D[i, j] * w[j]
        value, best, worst = 0.0, 0, -1
        for i in range(k):
            value += 0.5 * w[i] * g[i]
            if g[i] > g[best]:
                best = i
            if w[i] > 0.0 and (worst == -1 or g[i] < g[worst]):
                worst = i
        margin = (1e-12 + 2.0 * slack) * (g[best] + value)
        if g[best] - value + margin <= square:
            return 1
        if value - margin > square:
            return 0
        if best == worst or g[best] - 2.0 * value <= 0.01 * margin:
            return -1
        t = min(w[worst], (g[best] - g[worst]) / (2.0 * D[best, worst]))
        w[best] += t
        w[worst] -= t
        for i in range(k):
            g[i] += t * (D[i, best] - D[i, worst])
    return -1


@compiled()
def _bound(candidates, size, labels, q, peak):
    """Return the sum over classes of the largest q among the candidates."""
    total = 0.0
    for i in range(size):
        c = labels[candidates[i]]
        if q[candidates[i]] > peak[c]:
            total += q[candidates[i]] - peak[c]
            peak[c] = q[candidates[i]]
    for i in range(size):
        peak[labels[candidates[i]]] = 0.0
    return total


@compiled()
def _order(root, row, q, candidates):
    """Write the neighbours with q > 0 by falling q, near ties shuffled; return their number.

    Roots with the same neighbours then find different sets, which cover more examples at once.
    """
    size = 0
    for v in row:
        if q[v] > 0.0:
            candidates[size] = v
            size += 1
    ranks = np.empty(size)
    for i in range(size):
        mixed = ((candidates[i] * 2654435761) ^ (root * 40503)) & 0xFFFF
        ranks[i] = -q[candidates[i]] * (1.0 - _SHUFFLE * mixed)
    candidates[:size] = candidates[:size][np.argsort(ranks)]
    return size


@compiled(inline="always")
def _meets(graph, members, depth, v, D):
    """Return whether the balls of members[: depth + 1] and v share a point: 1, 0, or -1 for undecided.

    The squared distances of v join those of the members in D.
    """
    for i in range(depth + 1):
        D[i, depth + 1] = D[depth + 1, i] = graph.key[_edge(graph, members[i], v)]
    if graph.rule == L2 and depth > 0:
        return enclosing_ball(D, depth + 2, graph.square, graph.slack)
    return -1 if graph.rule == L1 and depth > 1 else 1


@compiled(inline="always")
def _narrow(graph, candidates, cursor, size, depth, v):
    """Keep, one level deeper, the later candidates that conflict with v; return their number."""
    below = 0
    for i in range(cursor[depth], size[depth]):
        if _edge(graph, v, candidates[depth, i]) >= 0:
            candidates[depth + 1, below] = candidates[depth, i]
            below += 1
    size[depth + 1], cursor[depth + 1] = below, 0
    return below


@compiled()
def disjoint(graph, bounds):
    """Return disjoint hyperedges (t, classes), padded by -1: greedily, from the class with most nodes left.

    `bounds` holds the first node of each class, and the number of nodes. Where nearly all conflict
    these sets cover the graph about as well as any do. Only a few candidates of a class are tried, so
    that sparse graphs take little time.
    """
    classes = bounds.shape[0] - 1
    found = np.full((graph.labels.shape[0], classes), -1, np.int32)
    cursor, taken = bounds[:-1].copy(), np.zeros(graph.labels.shape[0], np.bool_)
    D, count = np.zeros((classes + 1, classes + 1)), 0
    while True:
        depth = -1
        for c in np.argsort(cursor - bounds[1:]):
            while cursor[c] < bounds[c + 1] and taken[cursor[c]]:
                cursor[c] += 1
            for v in range(cursor[c], min(bounds[c + 1], cursor[c] + _TRIES)):
                if taken[v]:
                    continue
                joined = True
                for i in range(depth + 1):
                    joined = joined and _edge(graph, found[count, i], v) >= 0
                if joined and (depth < 0 or _meets(graph, found[count], depth, v, D) == 1):
                    depth += 1
                    found[count, depth] = v
                    taken[v] = True
                    break
        if depth < 0:
            return found[:count]
        count += 1


@compiled()
def separate(graph, classes, q, tolerance, roots, budget, found, undecided):
    """Find for each root the hyperedge with the largest sum of q, where that exceeds 1 + tolerance.

    Parameters
    ----------
    graph
        The `Cliques`.
    classes, q
        Number of classes, and the values to separate.
    roots
        (first, last): the lowest members of the sets looked for.
    budget
        Number of sets to look at; what a root leaves of its share goes to those after it.
    found, undecided
        (t, classes) and (t,), t at least the number of roots: the sets, padded by -1, and whether
        each is undecided. An undecided set counts as a hyperedge.

    Returns
    -------
    tuple
        How many sets were found, how many were looked at, a ceiling: no hyperedge with such a root has
        a larger sum of q (1 + tolerance and the rounding of ties where none is violated), and whether
        the budget sufficed.
    """
    first, last = roots
    longest = 0
    for u in range(first, last):
        longest = max(longest, graph.start[u + 1] - graph.start[u])
    candidates = np.empty((classes + 1, longest), np.int32)
    size, cursor = np.zeros(classes + 1, np.int64), np.zeros(classes + 1, np.int64)
    members, total = np.empty(classes + 1, np.int32), np.zeros(classes + 1)
    D, peak = np.zeros((classes + 1, classes + 1)), np.zeros(classes)
    doubt = np.zeros(classes + 1, np.bool_)
    count, seen, ceiling, complete = 0, 0, 1.0, True
    for root in range(first, last):
        best = 1.0 + tolerance
        members[0], total[0], cursor[0] = root, q[root], 0
        size[0] = _order(root, graph.neighbour[graph.start[root] : graph.start[root + 1]], q, candidates[0])
        highest = q[root] + _bound(candidates[0], size[0], graph.labels, q, peak)
        depth = 0 if highest > best else -1
        stop = seen + 1 + (budget - seen) // (last - root)
        while depth >= 0 and seen < stop:
            # Later candidates have no larger q, up to the shuffle, and each stands for one class.
            left = classes - 1 - graph.labels[root] - depth
            if cursor[depth] == size[depth] or total[depth] + left * q[candidates[depth, cursor[depth]]] <= best:
                depth -= 1
                continue
            v = candidates[depth, cursor[depth]]
            cursor[depth] += 1
            seen += 1
            meets = _meets(graph, members, depth, v, D)
            if meets == 0:
                continue
            members[depth + 1], total[depth + 1] = v, total[depth] + q[v]
            doubt[depth + 1] = doubt[depth] or meets == -1
            if total[depth + 1] > best:
                best = total[depth + 1]
                undecided[count] = doubt[depth + 1]
                found[count] = -1
                found[count, : depth + 2] = members[: depth + 2]
            below = _narrow(graph, candidates, cursor, size, depth, v)
            if total[depth + 1] + _bound(candidates[depth + 1], below, graph.labels, q, peak) > best:
                depth += 1
        ceiling = max(ceiling, highest if depth >= 0 else best * (1.0 + 4.0 * _RISE))
        complete &= depth < 0
        count += best > 1.0 + tolerance
    return count, seen, ceiling, complete
