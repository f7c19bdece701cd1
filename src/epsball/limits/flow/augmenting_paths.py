"""Compiled maximum flow through a bipartite graph, continued from whatever flow is there.

Left nodes u hold `excess[u]` units still to send, right nodes v have `space[v]` left; edges are
unbounded. Flow on (u, v) is a record in v's list: (`owner`, `amount`). Each phase sends a blocking
flow along shortest augmenting paths; with unit capacities that is Hopcroft and Karp's matching in
O(m sqrt(n)), and in general Dinitz's algorithm.

References
----------
Hopcroft and Karp, "An n^(5/2) algorithm for maximum matchings in bipartite graphs", SIAM J.
Computing 2 (1973). Dinitz, "Algorithm for solution of a problem of maximum flow in networks with
power estimation", Soviet Math. Doklady 11 (1970).
"""

import numpy as np

from epsball.limits.compiled import compiled

DONE, FULL = 0, 1
DEAD = -2
_SWEEPS = 8


@compiled()
def prefixes(start, level, j):
    """Return for each row the end of its edges of level <= j (levels ascend within a row)."""
    stop = np.empty(start.shape[0] - 1, np.int64)
    for u in range(stop.shape[0]):
        low, high = start[u], start[u + 1]
        while low < high:
            middle = (low + high) // 2
            if level[middle] <= j:
                low = middle + 1
            else:
                high = middle
        stop[u] = low
    return stop


@compiled(inline="always")
def _push(u, v, units, head, after, owner, amount, used):
    """Add `units` to the flow on (u, v): in its record, an empty record of v, or a new one."""
    r, empty = head[v], -1
    while r != -1 and owner[r] != u:
        if amount[r] == 0:
            empty = r
        r = after[r]
    if r == -1:
        r = empty
        if r == -1:
            r = used[0]
            used[0] += 1
            after[r] = head[v]
            head[v] = r
            amount[r] = 0
        owner[r] = u
    amount[r] += units


@compiled()
def greedy(start, stop, neighbour, active, j, offset, excess, space, head, after, owner, amount, used):
    """Send what goes along single edges, few choices first; return `FULL` if the records ran out."""
    for u in np.argsort(stop - start[:-1]):
        e = start[u]
        while excess[u] > 0 and e < stop[u]:
            v = neighbour[e] - offset
            if space[v] > 0 and active[e] <= j:
                if used[0] == amount.shape[0]:
                    return FULL
                units = min(excess[u], space[v])
                _push(u, v, units, head, after, owner, amount, used)
                excess[u] -= units
                space[v] -= units
            e += 1
    return DONE


@compiled()
def layers(start, stop, neighbour, active, j, offset, excess, space, head, after, owner, amount, depth, depth_right):
    """Return the layer that meets space, numbering both sides by distance from excess.

    The search ends with that layer. Where none does, -1 is returned and the numbered nodes (>= 0) are all
    that an augmenting path can reach: the source side of the smallest minimum cut.
    """
    depth[:] = -1
    depth_right[:] = -1
    queue = np.empty(depth.shape[0], np.int32)
    tail = 0
    for u in range(depth.shape[0]):
        if excess[u] > 0:
            depth[u] = 0
            queue[tail] = u
            tail += 1
    last = np.int32(-1)
    i = 0
    while i < tail and (last == -1 or depth[queue[i]] <= last):
        u = queue[i]
        for e in range(start[u], stop[u]):
            v = neighbour[e] - offset
            if depth_right[v] != -1 or active[e] > j:
                continue
            depth_right[v] = depth[u]
            if space[v] > 0:
                last = depth[u]
            r = head[v]
            while last == -1 and r != -1:
                if amount[r] > 0 and depth[owner[r]] == -1:
                    depth[owner[r]] = depth[u] + 1
                    queue[tail] = owner[r]
                    tail += 1
                r = after[r]
        i += 1
    return last


@compiled()
def send(path, via, ends, top, excess, space, head, after, owner, amount, used):
    """Send the bottleneck of the path path[0], ends[0], path[1], ..., path[top], ends[top]."""
    units = min(excess[path[0]], space[ends[top]])
    for i in range(top):
        units = min(units, amount[via[i]])
    excess[path[0]] -= units
    space[ends[top]] -= units
    for i in range(top):
        amount[via[i]] -= units
    for i in range(top + 1):
        _push(path[i], ends[i], units, head, after, owner, amount, used)


@compiled()
def blocking_flow(
    start,
    stop,
    neighbour,
    active,
    j,
    offset,
    excess,
    space,
    head,
    after,
    owner,
    amount,
    used,
    depth,
    depth_right,
    last,
):
    """Send a blocking flow through the layers; return `FULL` if the records ran out."""
    cursor, turn = start[:-1].copy(), head.copy()
    path, via, ends = np.empty((3, depth.shape[0] + 1), np.int32)
    for source in range(depth.shape[0]):
        top = 0
        path[0] = source
        while top >= 0 and excess[source] > 0:
            u = path[top]
            if cursor[u] == stop[u]:
                depth[u] = DEAD
                top -= 1
                continue
            e = cursor[u]
            v = neighbour[e] - offset
            if depth_right[v] != depth[u] or active[e] > j:
                cursor[u] += 1
                continue
            if space[v] > 0:
                if used[0] + top + 1 > amount.shape[0]:
                    return FULL
                ends[top] = v
                send(path, via, ends, top, excess, space, head, after, owner, amount, used)
                top = 0
                continue
            # Beyond the last layer lies no space that a shortest path could reach.
            r = turn[v] if depth[u] < last else -1
            while r != -1 and (amount[r] == 0 or depth[owner[r]] != depth[u] + 1):
                r = after[r]
            if r == -1:
                cursor[u] += 1
            else:
                turn[v] = r
                via[top], ends[top] = r, v
                top += 1
                path[top] = owner[r]
    return DONE


@compiled()
def reaches_space(start, stop, neighbour, active, j, offset, excess_side, space, head, after, owner, amount):
    """Return which nodes of both sides an augmenting path to space can start from.

    `excess_side` marks left nodes known to reach none (those reachable from excess). A few sweeps
    settle most graphs; what then remains is transposed and searched backwards.
    """
    left, right = np.zeros(stop.shape[0], np.bool_), space > 0
    for _ in range(_SWEEPS):
        grown = False
        for u in range(stop.shape[0]):
            e = start[u]
            while not excess_side[u] and not left[u] and e < stop[u]:
                left[u] = right[neighbour[e] - offset] and active[e] <= j
                grown |= left[u]
                e += 1
        for v in range(right.shape[0]):
            r = head[v]
            while r != -1 and not right[v]:
                right[v] = amount[r] > 0 and left[owner[r]]
                r = after[r]
        if not grown:
            return left, right
    count = np.zeros(right.shape[0] + 1, np.int64)
    for u in range(stop.shape[0]):
        if not left[u] and not excess_side[u]:
            for e in range(start[u], stop[u]):
                count[neighbour[e] - offset + 1] += 1
    for v in range(right.shape[0]):
        count[v + 1] += count[v]
    backward = np.empty(count[right.shape[0]], np.int32)
    fill = count.copy()
    for u in range(stop.shape[0]):
        if not left[u] and not excess_side[u]:
            for e in range(start[u], stop[u]):
                v = neighbour[e] - offset
                backward[fill[v]] = u if active[e] <= j else -1
                fill[v] += 1
    queue = np.empty(right.shape[0], np.int32)
    tail = 0
    for v in np.flatnonzero(right):
        queue[tail] = v
        tail += 1
    _search_backwards(queue, tail, count, backward, left, right, head, after, owner, amount)
    return left, right


@compiled()
def _search_backwards(queue, tail, count, backward, left, right, head, after, owner, amount):
    """Extend `left` and `right` from the right nodes queued to all that reach them."""
    holders_start, holders = _holders(left.shape[0], head, after, owner, amount)
    i = 0
    while i < tail:
        v = queue[i]
        for b in range(count[v], count[v + 1]):
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
def _holders(n, head, after, owner, amount):
    """Return for each left node the right nodes that hold its flow, in compressed rows."""
    start = np.zeros(n + 1, np.int64)
    for v in range(head.shape[0]):
        r = head[v]
        while r != -1:
            if amount[r] > 0:
                start[owner[r] + 1] += 1
            r = after[r]
    for u in range(n):
        start[u + 1] += start[u]
    holders, fill = np.empty(start[n], np.int32), start.copy()
    for v in range(head.shape[0]):
        r = head[v]
        while r != -1:
            if amount[r] > 0:
                holders[fill[owner[r]]] = v
                fill[owner[r]] += 1
            r = after[r]
    return start, holders
