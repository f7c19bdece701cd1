"""Compiled search for hyperedges: examples of distinct classes whose balls share one point.

A set whose balls meet jointly meets pairwise, so hyperedges are cliques of the conflict graph. In
linf every clique is one (intervals have Helly number two). In l2 the smallest ball around the
points decides, and in l1 three balls that meet in pairs meet jointly (walk from the median of the
three towards the farthest one); larger sets in l1, and ties in l2, are handed back as doubtful.
"""

import numpy as np

from epsball.limits.compiled import compiled

ALWAYS, L2, L1 = 0, 1, 2
_STEPS = 20000


@compiled(inline="always")
def _edge(start, neighbour, u, v):
    """Return the position of the edge (u, v), or -1; rows ascend by neighbour."""
    low, high = start[u], start[u + 1]
    while low < high:
        middle = (low + high) // 2
        if neighbour[middle] < v:
            low = middle + 1
        else:
            high = middle
    return low if low < start[u + 1] and neighbour[low] == v else -1


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
def _bound(candidates, size, klass, q, peak):
    """Return the sum over classes of the largest q among the candidates."""
    total = 0.0
    for i in range(size):
        c = klass[candidates[i]]
        if q[candidates[i]] > peak[c]:
            total += q[candidates[i]] - peak[c]
            peak[c] = q[candidates[i]]
    for i in range(size):
        peak[klass[candidates[i]]] = 0.0
    return total


@compiled(inline="always")
def _meets(start, neighbour, key, members, depth, v, D, rule, square, slack):
    """Return whether the balls of members[: depth + 1] and v share a point: 1, 0, or -1 for doubt.

    The squared distances of v join those of the members in D.
    """
    for i in range(depth + 1):
        D[i, depth + 1] = D[depth + 1, i] = key[_edge(start, neighbour, members[i], v)]
    if rule == L2 and depth > 0:
        return enclosing_ball(D, depth + 2, square, slack)
    return -1 if rule == L1 and depth > 1 else 1


@compiled(inline="always")
def _narrow(start, neighbour, candidates, cursor, size, depth, v):
    """Keep, one level deeper, the later candidates that conflict with v; return how many they are."""
    below = 0
    for i in range(cursor[depth], size[depth]):
        if _edge(start, neighbour, v, candidates[depth, i]) >= 0:
            candidates[depth + 1, below] = candidates[depth, i]
            below += 1
    size[depth + 1], cursor[depth + 1] = below, 0
    return below


@compiled()
def separate(start, neighbour, key, klass, classes, q, rule, square, slack, tolerance, budget, room):
    """Find for each root the hyperedge with the largest sum of q, where that exceeds 1 + tolerance.

    Parameters
    ----------
    start, neighbour, key
        Compressed rows of the conflict graph, each edge in its lower row (the row of the lower
        class), ascending by neighbour; the squared distance of each edge for the rule `L2`.
    klass, classes, q
        Class of each node, number of classes, and the values to separate.
    rule, square, slack
        `ALWAYS`, `L2` or `L1`; squared radius and relative error of the keys.
    budget
        Largest number of sets to look at.
    room
        Largest number of sets to return.

    Returns
    -------
    tuple
        Sets (t, classes) padded by -1, which of them are doubtful (t,), and whether the search was full.
        A doubtful set counts as met, so that a full search that returns nothing has proved that no
        hyperedge is violated.
    """
    n = start.shape[0] - 1
    longest = 0
    for u in range(n):
        longest = max(longest, start[u + 1] - start[u])
    deepest = classes
    candidates = np.empty((deepest + 1, longest), np.int32)
    size, cursor = np.zeros(deepest + 1, np.int64), np.zeros(deepest + 1, np.int64)
    members, total = np.empty(deepest + 1, np.int32), np.zeros(deepest + 1)
    D, peak = np.zeros((deepest + 1, deepest + 1)), np.zeros(classes)
    found, doubtful = np.full((room, classes), -1, np.int32), np.zeros(room, np.bool_)
    doubt = np.zeros(deepest + 1, np.bool_)
    count, seen = 0, 0
    for root in range(n):
        best = 1.0 + tolerance
        size[0] = 0
        for e in range(start[root], start[root + 1]):
            if q[neighbour[e]] > 0.0:
                candidates[0, size[0]] = neighbour[e]
                size[0] += 1
        members[0], total[0], cursor[0] = root, q[root], 0
        depth = 0 if total[0] + _bound(candidates[0], size[0], klass, q, peak) > best else -1
        improved = False
        while depth >= 0:
            if cursor[depth] == size[depth]:
                depth -= 1
                continue
            v = candidates[depth, cursor[depth]]
            cursor[depth] += 1
            seen += 1
            if seen > budget:
                return found[:count], doubtful[:count], False
            meets = _meets(start, neighbour, key, members, depth, v, D, rule, square, slack)
            members[depth + 1] = v
            total[depth + 1] = total[depth] + q[v]
            if meets == 0:
                continue
            doubt[depth + 1] = doubt[depth] or meets == -1
            if total[depth + 1] > best:
                if not improved:
                    if count == room:
                        return found, doubtful, False
                    improved = True
                    count += 1
                best = total[depth + 1]
                doubtful[count - 1] = doubt[depth + 1]
                found[count - 1] = -1
                found[count - 1, : depth + 2] = members[: depth + 2]
            below = _narrow(start, neighbour, candidates, cursor, size, depth, v)
            if total[depth + 1] + _bound(candidates[depth + 1], below, klass, q, peak) > best:
                depth += 1
    return found[:count], doubtful[:count], True
