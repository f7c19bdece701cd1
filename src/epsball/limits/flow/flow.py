"""Maximum flow over the grid of radii, each radius continuing from the one before."""

from dataclasses import dataclass

import numpy as np

from epsball.limits.flow import augmenting_paths, bitsets
from epsball.limits.flow.augmenting_paths import FULL, Edges, FlowState
from epsball.limits.flow.bipartite import Bipartite

_SPARSE = 32


@dataclass(frozen=True, kw_only=True)
class Coupling:
    """Mass moved between left and right nodes: (t,) positions and integer amounts."""

    left: np.ndarray
    right: np.ndarray
    amount: np.ndarray


@dataclass(frozen=True, kw_only=True)
class CoverStatus:
    """What all minimum vertex covers agree on, for the nodes of one side.

    Parameters
    ----------
    always
        In every minimum vertex cover.
    never
        In no minimum vertex cover.
    """

    always: np.ndarray
    never: np.ndarray


class Flow:
    """A maximum flow from left capacities to right capacities, raised level by level.

    Parameters
    ----------
    graph
        The bipartite graph.
    left, right
        Integer capacities of the nodes.
    """

    def __init__(self, graph: Bipartite, left: np.ndarray, right: np.ndarray) -> None:
        self.graph = graph
        size = len(left) + len(right)
        self.state = FlowState(
            excess=left.copy(),
            space=right.copy(),
            head=np.full(len(right), -1, dtype=np.int32),
            after=np.empty(size, np.int32),
            owner=np.empty(size, np.int32),
            amount=np.zeros(size, dtype=np.int64),
            used=np.zeros(1, dtype=np.int64),
            depth=np.full(len(left), -1, dtype=np.int32),
            depth_right=np.full(len(right), -1, dtype=np.int32),
        )
        self._supply = int(left.sum())
        self._edges = Edges(graph.start, graph.start[:-1], graph.neighbour, graph.level, 0, graph.offset)
        # Where over 1/32 of all edges are there, bits take less room than their list.
        filled = len(graph.neighbour) * _SPARSE > len(left) * len(right) > 0
        self._bits = bitsets.empty_bits(len(left), len(right)) if filled else None
        strict = filled and graph.level is not graph.sort_key
        self._late = bitsets.late_edges(graph.level, graph.sort_key) if strict else np.empty(0, dtype=np.int64)

    @property
    def value(self) -> int:
        """Units sent so far."""
        return self._supply - int(self.state.excess.sum())

    def raise_to(self, level: int) -> int:
        """Admit the edges of a level and return the value of the maximum flow."""
        graph, before = self.graph, self._edges
        stop = augmenting_paths.prefixes(graph.start, graph.sort_key, level)
        self._edges = before._replace(stop=stop, j=level)
        while augmenting_paths.greedy(self._edges, self.state) == FULL:
            self._grow()
        if self._bits is not None:
            bitsets.add_edges(self._bits, before.stop, self._edges)
            bitsets.add_late(self._bits, self._edges, self._late)
        while (last := self._layers()) >= 0:
            if self._blocking_flow(last) == FULL:
                self._grow()
        return self.value

    def continue_from(self, other: "Flow") -> None:
        """Take over the flow of `other`, between the same nodes and edges, some of which it may admit later."""
        self.state = FlowState(*(array.copy() for array in other.state))
        if other._bits is not None:
            self._bits, self._late = other._bits.copy(), other._late
            self._edges = self._edges._replace(stop=other._edges.stop)

    def _layers(self) -> int:
        """Return the layer that meets space, or -1; see `augmenting_paths.layers`."""
        if self._bits is not None:
            return bitsets.layers(self._bits, self.state)
        return augmenting_paths.layers(self._edges, self.state)

    def _blocking_flow(self, last: int) -> int:
        """Send a blocking flow through the layers, or return `FULL`; see `augmenting_paths.blocking_flow`."""
        if self._bits is not None:
            return bitsets.blocking_flow(self._bits, self.state, last)
        return augmenting_paths.blocking_flow(self._edges, self.state, last)

    def reached(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the nodes of both sides that excess can reach: the smallest minimum cut."""
        return self.state.depth >= 0, self.state.depth_right >= 0

    def cover_status(self) -> tuple[CoverStatus, CoverStatus]:
        """Return the Dulmage-Mendelsohn sets of the left and of the right nodes, at the last level.

        A left node reachable from excess is in no minimum cover, a right one in every minimum cover;
        for a node from which space can be reached it is the other way round.
        """
        from_excess, from_excess_right = self.reached()
        to_space, to_space_right = augmenting_paths.reaches_space(self._edges, self.state, from_excess)
        left = CoverStatus(always=to_space, never=from_excess)
        return left, CoverStatus(always=from_excess_right, never=to_space_right)

    def coupling(self) -> Coupling:
        """Return the flow as mass moved along edges."""
        state = self.state
        holder = np.full(int(state.used[0]), -1, dtype=np.int64)
        lists = np.flatnonzero(state.head >= 0)
        records = state.head[lists]
        while len(lists):
            holder[records] = lists
            records = state.after[records]
            lists, records = lists[records >= 0], records[records >= 0]
        sent = np.flatnonzero(state.amount[: len(holder)] > 0)
        return Coupling(left=state.owner[sent].astype(np.int64), right=holder[sent], amount=state.amount[sent].copy())

    def _grow(self) -> None:
        """Double the room for records."""
        state = self.state
        self.state = state._replace(
            after=np.concatenate([state.after, np.empty_like(state.after)]),
            owner=np.concatenate([state.owner, np.empty_like(state.owner)]),
            amount=np.concatenate([state.amount, np.zeros_like(state.amount)]),
        )


def raise_readings(flows: list[Flow], level: int) -> None:
    """Raise the flows of one problem's readings, stricter ones last, to a level.

    A conflict of the stricter reading is one of the other too, and nearly all are, so the other's flow
    continues from the stricter one's and little is left to send.
    """
    flows[-1].raise_to(level)
    for flow in flows[:-1]:
        flow.continue_from(flows[-1])
        flow.raise_to(level)
