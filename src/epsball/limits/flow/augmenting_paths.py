"""Compiled maximum flow through a bipartite graph, continued from whatever flow is there.

Edges are unbounded. Each phase sends a blocking flow along shortest augmenting paths; with unit
capacities that is Hopcroft and Karp's matching in O(m sqrt(n)), and in general Dinitz's algorithm.

References
----------
Hopcroft and Karp, "An n^(5/2) algorithm for maximum matchings in bipartite graphs", SIAM J.
Computing 2 (1973). Dinitz, "Algorithm for solution of a problem of maximum flow in networks with
power estimation", Soviet Math. Doklady 11 (1970).
"""

from typing import NamedTuple

import numpy as np

from epsball.compiled import compiled

DONE, FULL = 0, 1
DEAD = -2
_SWEEPS = 8


class Edges(NamedTuple):
    """The edges of a bipartite graph that are present at level j.

    Those of the left node u are among start[u]:stop[u]: the edges e with level[e] <= j. The right node of e is
    neighbour[e] - offset.
    """

    start: np.ndarray
    stop: np.ndarray
    neighbour: np.ndarray
    level: np.ndarray
    j: int
    offset: int


class FlowState(NamedTuple):
    """A flow, and the layers of the last search; the functions of this file change the arrays in place.

    Attributes
    ----------
    excess, space
        Units that each left node still has to send, and that each right node can still take.
    head, after
        Right node v keeps a list of records: head[v], after[head[v]], ...; -1 ends it.
    owner, amount
        A record in v's list: `amount` units flow on the edge from `owner` to v.
    used
        (1,) number of records in use.
    depth, depth_right
        Layer of each left and right node, -1 where the search did not come.
    """

    excess: np.ndarray
    space: np.ndarray
    head: np.ndarray
    after: np.ndarray
    owner: np.ndarray
    amount: np.ndarray
    used: np.ndarray
    depth: np.ndarray
    depth_right: np.ndarray


@compiled()
def prefixes(start, sort_key, j):
    """Return for each row the end of its edges with sort_key <= j (keys ascend within a row)."""
    stop = np.empty(start.shape[0] - 1, np.int64)
    for u in range(stop.shape[0]):
        low, high = start[u], start[u + 1]
        while low < high:
            middle = (low + high) // 2
            if sort_key[middle] <= j:
                low = middle + 1
            else:
                high = middle
        stop[u] = low
    return stop


@compiled(inline="always")
def _push(u, v, units, state):
    """Add `units` to the flow on (u, v): in its record, an empty record of v, or a new one."""
    r, empty = state.head[v], -1
    while r != -1 and state.owner[r] != u:
        if state.amount[r] == 0:
            empty = r
        r = state.after[r]
    if r == -1:
        r = empty
        if r == -1:
            r = state.used[0]
            state.used[0] += 1
            state.after[r] = state.head[v]
            state.head[v] = r
            state.amount[r] = 0
        state.owner[r] = u
    state.amount[r] += units


@compiled()
def greedy(edges, state):
    """Send what goes along single edges, nodes with few edges first; return `FULL` if the records ran out."""
    for u in np.argsort(edges.stop - edges.start[:-1]):
        e = edges.start[u]
        while state.excess[u] > 0 and e < edges.stop[u]:
            v = edges.neighbour[e] - edges.offset
            if state.space[v] > 0 and edges.level[e] <= edges.j:
                if state.used[0] == state.amount.shape[0]:
                    return FULL
                units = min(state.excess[u], state.space[v])
                _push(u, v, units, state)
                state.excess[u] -= units
                state.space[v] -= units
            e += 1
    return DONE


@compiled()
def layers(edges, state):
    """Return the first layer that meets space, or -1; number both sides by their distance from excess.

    The search ends with that layer. Where there is none, the numbered nodes (>= 0) are all that an
    augmenting path can reach: the source side of the smallest minimum cut.
    """
    state.depth[:] = -1
    state.depth_right[:] = -1
    queue = np.empty(state.depth.shape[0], np.int32)
    tail = 0
    for u in range(state.depth.shape[0]):
        if state.excess[u] > 0:
            state.depth[u] = 0
            queue[tail] = u
            tail += 1
    last = np.int32(-1)
    i = 0
    while i < tail and (last == -1 or state.depth[queue[i]] <= last):
        u = queue[i]
        for e in range(edges.start[u], edges.stop[u]):
            v = edges.neighbour[e] - edges.offset
            if state.depth_right[v] != -1 or edges.level[e] > edges.j:
                continue
            state.depth_right[v] = state.depth[u]
            if state.space[v] > 0:
                last = state.depth[u]
            r = state.head[v]
            while last == -1 and r != -1:
                if state.amount[r] > 0 and state.depth[state.owner[r]] == -1:
                    state.depth[state.owner[r]] = state.depth[u] + 1
                    queue[tail] = state.owner[r]
                    tail += 1
                r = state.after[r]
        i += 1
    return last


@compiled()
def send(path, via, ends, top, state):
    """Send as much as fits along the path path[0], ends[0], path[1], ..., path[top], ends[top]."""
    units = min(state.excess[path[0]], state.space[ends[top]])
    for i in range(top):
        units = min(units, state.amount[via[i]])
    state.excess[path[0]] -= units
    state.space[ends[top]] -= units
    for i in range(top):
        state.amount[via[i]] -= units
    for i in range(top + 1):
        _push(path[i], ends[i], units, state)


@compiled()
def blocking_flow(edges, state, last):
    """Send a blocking flow through the layers; return `FULL` if the records ran out."""
    cursor, turn = edges.start[:-1].copy(), state.head.copy()
    path, via, ends = np.empty((3, state.depth.shape[0] + 1), np.int32)
    for source in range(state.depth.shape[0]):
        top = 0
        path[0] = source
        while top >= 0 and state.excess[source] > 0:
            u = path[top]
            if cursor[u] == edges.stop[u]:
                state.depth[u] = DEAD
                top -= 1
                continue
            e = cursor[u]
            v = edges.neighbour[e] - edges.offset
            if state.depth_right[v] != state.depth[u] or edges.level[e] > edges.j:
                cursor[u] += 1
                continue
            if state.space[v] > 0:
                if state.used[0] + top + 1 > state.amount.shape[0]:
                    return FULL
                ends[top] = v
                send(path, via, ends, top, state)
                top = 0
                continue
            # A shortest path reaches no space beyond the last layer.
            r = turn[v] if state.depth[u] < last else -1
            while r != -1 and (state.amount[r] == 0 or state.depth[state.owner[r]] != state.depth[u] + 1):
                r = state.after[r]
            if r == -1:
                cursor[u] += 1
            else:
                turn[v] = r
                via[top], ends[top] = r, v
                top += 1
                path[top] = state.owner[r]
    return DONE


@compiled()
def reaches_space(edges, state, from_excess):
    """Return which nodes of both sides an augmenting path to space can start from.

    `from_excess` marks the left nodes reachable from excess, which reach no space. A few sweeps
    settle most graphs; what then remains is transposed and searched backwards.
    """
    left, right = np.zeros(edges.stop.shape[0], np.bool_), state.space > 0
    for _ in range(_SWEEPS):
        grown = False
        for u in range(edges.stop.shape[0]):
            e = edges.start[u]
            while not from_excess[u] and not left[u] and e < edges.stop[u]:
                left[u] = right[edges.neighbour[e] - edges.offset] and edges.level[e] <= edges.j
                grown |= left[u]
                e += 1
        for v in range(right.shape[0]):
            r = state.head[v]
            while r != -1 and not right[v]:
                right[v] = state.amount[r] > 0 and left[state.owner[r]]
                r = state.after[r]
        if not grown:
            return left, right
    queue = np.empty(right.shape[0], np.int32)
    tail = 0
    for v in np.flatnonzero(right):
        queue[tail] = v
        tail += 1
    start, backward = _transposed(edges, left | from_excess, right.shape[0])
    _search_backwards(queue, tail, start, backward, left, right, state)
    return left, right


@compiled()
def _transposed(edges, decided, n):
    """Return for each of n right nodes its left nodes that are not decided, in compressed rows; -1: no edge."""
    start = np.zeros(n + 1, np.int64)
    for u in range(edges.stop.shape[0]):
        if not decided[u]:
            for e in range(edges.start[u], edges.stop[u]):
                start[edges.neighbour[e] - edges.offset + 1] += 1
    for v in range(n):
        start[v + 1] += start[v]
    backward, fill = np.empty(start[n], np.int32), start.copy()
    for u in range(edges.stop.shape[0]):
        if not decided[u]:
            for e in range(edges.start[u], edges.stop[u]):
                v = edges.neighbour[e] - edges.offset
                backward[fill[v]] = u if edges.level[e] <= edges.j else -1
                fill[v] += 1
    return start, backward


@compiled()
def _search_backwards(queue, tail, start, backward, left, right, state):
    """Extend `left` and `right` from the right nodes queued to all that reach them."""
    holders_start, holders = _holders(left.shape[0], state)
    i = 0
    while i < tail:
        v = queue[i]
        for b in range(start[v], start[v + 1]):
            u = backward[b]
            if u >= 0 and not left[u]:
                left[u] = True
                for h in range(holders_start[u], holders_start[u + 1]):
                    if not right[holders[h]]:
                        right[holders[h]] = True
                        queue[tail] = holders[h]
                        tail += 1
        i += 1


@compiled()
def _holders(n, state):
    """Return for each left node the right nodes that hold its flow, in compressed rows."""
    start = np.zeros(n + 1, np.int64)
    for v in range(state.head.shape[0]):
        r = state.head[v]
        while r != -1:
            if state.amount[r] > 0:
                start[state.owner[r] + 1] += 1
            r = state.after[r]
    for u in range(n):
        start[u + 1] += start[u]
    holders, fill = np.empty(start[n], np.int32), start.copy()
    for v in range(state.head.shape[0]):
        r = state.head[v]
        while r != -1:
            if state.amount[r] > 0:
                holders[fill[state.owner[r]]] = v
                fill[state.owner[r]] += 1
            r = state.after[r]
    return start, holders
