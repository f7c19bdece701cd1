"""Layers and blocking flows over rows of bits, 64 right nodes per word: for graphs with over 1/32 of all edges."""

import numpy as np

from epsball.compiled import compiled
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
def add_edges(bits, done, edges):
    """Set the bits of the edges present among those from done[u] on."""
    for u in range(edges.stop.shape[0]):
        for e in range(done[u], edges.stop[u]):
            if edges.level[e] <= edges.j:
                v = edges.neighbour[e] - edges.offset
                bits[u, v >> 6] |= np.uint64(1) << np.uint64(v & 63)


@compiled()
def late_edges(level, sort_key):
    """Return the positions of the edges that appear later than their sort key."""
    late = np.empty((level != sort_key).sum(), np.int64)
    count = 0
    for e in range(sort_key.shape[0]):
        if level[e] != sort_key[e]:
            late[count] = e
            count += 1
    return late


@compiled()
def add_late(bits, edges, late):
    """Set the bits of the edges present among those in `late`, an ascending list."""
    u = 0
    for e in late:
        while edges.start[u + 1] <= e:
            u += 1
        if edges.level[e] <= edges.j:
            v = edges.neighbour[e] - edges.offset
            bits[u, v >> 6] |= np.uint64(1) << np.uint64(v & 63)


@compiled()
def layers(bits, state):
    """Do what `augmenting_paths.layers` does; nodes already seen cost one step per 64 of them."""
    state.depth[:] = -1
    state.depth_right[:] = -1
    queue = np.empty(state.depth.shape[0], np.int32)
    tail = 0
    for u in range(state.depth.shape[0]):
        if state.excess[u] > 0:
            state.depth[u] = 0
            queue[tail] = u
            tail += 1
    unseen = np.full(bits.shape[1], ~np.uint64(0))
    last = np.int32(-1)
    i = 0
    while i < tail and (last == -1 or state.depth[queue[i]] <= last):
        u = queue[i]
        for word in range(bits.shape[1]):
            fresh = bits[u, word] & unseen[word]
            unseen[word] &= ~fresh
            while fresh != 0:
                lowest = fresh & (~fresh + np.uint64(1))
                fresh ^= lowest
                v = (word << 6) + _POSITION[(lowest * _DE_BRUIJN) >> np.uint64(58)]
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
def _of_layer(depth_right, last, words):
    """Return (last + 1, words) bits: the right nodes of each layer."""
    bits = np.zeros((last + 1, words), np.uint64)
    for v in range(depth_right.shape[0]):
        if 0 <= depth_right[v] <= last:
            bits[depth_right[v], v >> 6] |= np.uint64(1) << np.uint64(v & 63)
    return bits


@compiled()
def blocking_flow(bits, state, last):
    """Do what `augmenting_paths.blocking_flow` does; exhausted right nodes leave the bits of their layer."""
    words = bits.shape[1]
    remaining = _of_layer(state.depth_right, last, words)
    cursor, turn = np.zeros(state.depth.shape[0], np.int32), state.head.copy()
    path, via, ends = np.empty((3, state.depth.shape[0] + 1), np.int32)
    for source in range(state.depth.shape[0]):
        top = 0
        path[0] = source
        while top >= 0 and state.excess[source] > 0:
            u, layer = path[top], state.depth[path[top]]
            word = cursor[u]
            while word < words and bits[u, word] & remaining[layer, word] == 0:
                word += 1
            cursor[u] = word
            if word == words:
                state.depth[u] = DEAD
                top -= 1
                continue
            fresh = bits[u, word] & remaining[layer, word]
            lowest = fresh & (~fresh + np.uint64(1))
            v = (word << 6) + _POSITION[(lowest * _DE_BRUIJN) >> np.uint64(58)]
            if state.space[v] > 0:
                if state.used[0] + top + 1 > state.amount.shape[0]:
                    return FULL
                ends[top] = v
                send(path, via, ends, top, state)
                top = 0
                continue
            r = turn[v] if layer < last else -1
            while r != -1 and (state.amount[r] == 0 or state.depth[state.owner[r]] != layer + 1):
                r = state.after[r]
            if r == -1:
                remaining[layer, word] ^= lowest
            else:
                turn[v] = r
                via[top], ends[top] = r, v
                top += 1
                path[top] = state.owner[r]
    return DONE
