"""Maximum flow over the grid of radii, each radius continuing from the one before."""

from dataclasses import dataclass

import numpy as np

from epsball.limits.flow import augmenting_paths as augment
from epsball.limits.flow import bitsets as dense

_SPARSE = 32


@dataclass(frozen=True, kw_only=True)
class Bipartite:
    """A bipartite graph whose edges appear with the levels.

    Parameters
    ----------
    start, neighbour, level
        Compressed rows of the left nodes, ascending by level within a row.
    active
        (m,) level from which an edge counts; `level`, or later for a stricter reading of ties.
    offset
        `neighbour` minus `offset` is the right node.
    right
        Number of right nodes.
    """

    start: np.ndarray
    neighbour: np.ndarray
    level: np.ndarray
    active: np.ndarray
    offset: int
    right: int


@dataclass(frozen=True, kw_only=True)
class Coupling:
    """Mass moved between left and right nodes: (t,) positions and integer amounts."""

    left: np.ndarray
    right: np.ndarray
    amount: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Sides:
    """What the minimum cuts of the residual graph have in common, for nodes of one side.

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
        self.excess, self.space = left.copy(), right.copy()
        self._supply = int(left.sum())
        self._head = np.full(len(right), -1, dtype=np.int32)
        self._used = np.zeros(1, dtype=np.int64)
        self._depth = np.full(len(left), -1, dtype=np.int32)
        self._depth_right = np.full(len(right), -1, dtype=np.int32)
        size = len(left) + len(right)
        self._after, self._owner = np.empty(size, np.int32), np.empty(size, np.int32)
        self._amount = np.zeros(size, dtype=np.int64)
        self._edges: tuple = ()
        self._stop = graph.start[:-1]
        # Where the graph fills more than 1/32, a bit an entry takes less room than its edges.
        filled = len(graph.neighbour) * _SPARSE > len(left) * len(right) > 0
        self._bits = dense.empty_bits(len(left), len(right)) if filled else None
        strict = filled and graph.active is not graph.level
        self._late = dense.late_edges(graph.active, graph.level) if strict else np.empty(0, dtype=np.int64)

    @property
    def value(self) -> int:
        """Units sent so far."""
        return self._supply - int(self.excess.sum())

    def raise_to(self, level: int) -> int:
        """Admit the edges of a level and return the value of the maximum flow."""
        graph = self.graph
        stop = augment.prefixes(graph.start, graph.level, level)
        self._edges = (graph.start, stop, graph.neighbour, graph.active, level, graph.offset)
        while augment.greedy(*self._edges, *self._state(), self._used) == augment.FULL:
            self._grow()
        if self._bits is not None:
            dense.add_edges(self._bits, self._stop, *self._edges[1:])
            dense.add_late(self._bits, graph.start, *self._edges[2:], self._late)
        self._stop = stop
        while (last := self._layers()) >= 0:
            if self._blocking_flow(last) == augment.FULL:
                self._grow()
        return self.value

    def continue_from(self, other: "Flow") -> None:
        """Take over a flow between the same nodes, in place of one's own.

        `other` has the same edges at the same levels, and may admit some of them later.
        """
        self.excess, self.space = other.excess.copy(), other.space.copy()
        self._head, self._used = other._head.copy(), other._used.copy()
        self._after, self._owner, self._amount = other._after.copy(), other._owner.copy(), other._amount.copy()
        if other._bits is not None:
            self._bits = other._bits.copy()
            self._stop, self._late = other._stop, other._late

    def _layers(self) -> int:
        """Return the layer that meets space, or -1; see `augment.layers`."""
        numbers = (self._depth, self._depth_right)
        if self._bits is not None:
            return dense.layers(self._bits, *self._state(), *numbers)
        return augment.layers(*self._edges, *self._state(), *numbers)

    def _blocking_flow(self, last: int) -> int:
        """Send a blocking flow through the layers, or return `FULL`; see `augment.blocking_flow`."""
        layered = (self._used, self._depth, self._depth_right, last)
        if self._bits is not None:
            return dense.blocking_flow(self._bits, *self._state(), *layered)
        return augment.blocking_flow(*self._edges, *self._state(), *layered)

    def reached(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the nodes of both sides that excess can reach: the smallest minimum cut."""
        return self._depth >= 0, self._depth_right >= 0

    def sides(self) -> tuple[Sides, Sides]:
        """Return the Dulmage-Mendelsohn sets of the left and of the right nodes, at the last level.

        A left node reachable from excess is in no minimum cover, a right one in every; a node from
        which space can be reached the other way round.
        """
        from_excess, from_excess_right = self.reached()
        to_space, to_space_right = augment.reaches_space(
            *self._edges, from_excess, self.space, self._head, self._after, self._owner, self._amount
        )
        return Sides(always=to_space, never=from_excess), Sides(always=from_excess_right, never=to_space_right)

    def coupling(self) -> Coupling:
        """Return the flow as mass moved along edges."""
        holder = np.full(int(self._used[0]), -1, dtype=np.int64)
        lists = np.flatnonzero(self._head >= 0)
        records = self._head[lists]
        while len(lists):
            holder[records] = lists
            records = self._after[records]
            lists, records = lists[records >= 0], records[records >= 0]
        sent = np.flatnonzero(self._amount[: len(holder)] > 0)
        return Coupling(left=self._owner[sent].astype(np.int64), right=holder[sent], amount=self._amount[sent].copy())

    def _state(self) -> tuple[np.ndarray, ...]:
        return self.excess, self.space, self._head, self._after, self._owner, self._amount

    def _grow(self) -> None:
        """Double the room for records."""
        self._after = np.concatenate([self._after, np.empty_like(self._after)])
        self._owner = np.concatenate([self._owner, np.empty_like(self._owner)])
        self._amount = np.concatenate([self._amount, np.zeros_like(self._amount)])
