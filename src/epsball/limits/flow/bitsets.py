"""Layers and blocking flows over rows of bits: 64 right nodes a word, for graphs that fill more than 1/32."""

import numpy as np

from epsball.limits.compiled import compiled
from epsball.limits.flow.augmenting_paths import DEAD, DONE, FULL, send

_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)


def _bit_positions() -> np.ndarray:
    """Return the position of a lone bit, indexed by the top 6 bits of its product with the sequence."""
    table = np.zeros(64, dtype=np.int64)
    for position in range(64):
        table[((int(_DE_BRUIJN) << position) % 2**64) >> 58] = position
    return table


_POSITION = _bit_positions()


def empty_bits(left: int, right: int) -> np.ndarray:
    """Return (left, words) zero rows of bits for the right nodes."""
    return np.zeros((left, (right + 63) // 64), dtype=np.uint64)


@compiled()
def add_edges(bits, start, stop, neighbour, active, j, offset):
    """Set the bits of the edges start[u]:stop[u] that are active at level j."""
    for u in range(stop.shape[0]):
        for e in range(start[u], stop[u]):
            if active[e] <= j:
                v = neighbour[e] - offset
                bits[u, v >> 6] |= np.uint64(1) << np.uint64(v & 63)


@compiled()
def late_edges(active, level):
    """Return the positions of the edges that are active later than their level."""
    late = np.empty((active != level).sum(), np.int64)
    count = 0
    for e in range(level.shape[0]):
        if active[e] != level[e]:
            late[count] = e
            count += 1
    return late


@compiled()
def add_late(bits, start, neighbour, active, j, offset, late):
    """Set the bits of those edges in `late`, an ascending list, that are active at level j."""
    u = 0
    for e in late:
        while start[u + 1] <= e:
            u += 1
        if active[e] <= j:
            v = neighbour[e] - offset
            bits[u, v >> 6] |= np.uint64(1) << np.uint64(v & 63)


@compiled()
def layers(bits, excess, space, head, after, owner, amount, depth, depth_right):
    """Do what `augment.layers` does; a row costs one step for 64 nodes already seen."""
    depth[:] = -1
    depth_right[:] = -1
    queue = np.empty(depth.shape[0], np.int32)
    tail = 0
    for u in range(depth.shape[0]):
        if excess[u] > 0:
            depth[u] = 0
            queue[tail] = u
            tail += 1
    unseen = np.full(bits.shape[1], ~np.uint64(0))
    last = np.int32(-1)
    i = 0
    while i < tail and (last == -1 or depth[queue[i]] <= last):
        u = queue[i]
        for word in range(bits.shape[1]):
            fresh = bits[u, word] & unseen[word]
            unseen[word] &= ~fresh
            while fresh != 0:
                lowest = fresh & (~fresh + np.uint64(1))
                fresh ^= lowest
                v = (word << 6) + _POSITION[(lowest * _DE_BRUIJN) >> np.uint64(58)]
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
def _of_layer(depth_right, last, words):
    """Return (last + 1, words) bits: the right nodes of each layer."""
    bits = np.zeros((last + 1, words), np.uint64)
    for v in range(depth_right.shape[0]):
        if 0 <= depth_right[v] <= last:
            bits[depth_right[v], v >> 6] |= np.uint64(1) << np.uint64(v & 63)
    return bits


@compiled()
def blocking_flow(bits, excess, space, head, after, owner, amount, used, depth, depth_right, last):
    """Do what `augment.blocking_flow` does; right nodes found exhausted leave the bits of their layer."""
    words = bits.shape[1]
    standing = _of_layer(depth_right, last, words)
    cursor, turn = np.zeros(depth.shape[0], np.int32), head.copy()
    path, via, ends = np.empty((3, depth.shape[0] + 1), np.int32)
    for source in range(depth.shape[0]):
        top = 0
        path[0] = source
        while top >= 0 and excess[source] > 0:
            u, layer = path[top], depth[path[top]]
            word = cursor[u]
            while word < words and bits[u, word] & standing[layer, word] == 0:
                word += 1
            cursor[u] = word
            if word == words:
                depth[u] = DEAD
                top -= 1
                continue
            fresh = bits[u, word] & standing[layer, word]
            lowest = fresh & (~fresh + np.uint64(1))
            v = (word << 6) + _POSITION[(lowest * _DE_BRUIJN) >> np.uint64(58)]
            if space[v] > 0:
                if used[0] + top + 1 > amount.shape[0]:
                    return FULL
                ends[top] = v
                send(path, via, ends, top, excess, space, head, after, owner, amount, used)
                top = 0
                continue
            r = turn[v] if layer < last else -1
            while r != -1 and (amount[r] == 0 or depth[owner[r]] != layer + 1):
                r = after[r]
            if r == -1:
                standing[layer, word] ^= lowest
            else:
                turn[v] = r
                via[top], ends[top] = r, v
                top += 1
                path[top] = owner[r]
    return DONE
