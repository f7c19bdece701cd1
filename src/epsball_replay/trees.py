"""Trees of cuts: what a certificate says of each leaf, and what holds there.

An inner node cuts an entry of a node's value at a kink into z <= kink and z >= kink. A tree is a list in preorder, so
that both parts of every cut are in it: the leaves cover the ball, whatever the cuts are, also for the deployed network,
whose z is one float. Within a leaf every node that takes a cut value has lines on the interval that is left, and
sign (z - kink) >= 0 for each cut, which may be subtracted from a row times a multiplier that is not negative.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from epsball_replay import lines
from epsball_replay.files import numbers, places
from epsball_replay.network import Array, Network, require

DEEPEST, _LARGEST, _LEAVES = 2**12, 2**20, 32

Path = tuple[tuple[str, int, float, int], ...]
"""The constraints of a leaf: node, entry, kink and sign."""


class Lines(NamedTuple):
    """Slopes of each row's own lines at some entries of a node, (rows, m), and the intervals, (m,) or (rows, m).

    Without slopes above the node's own lines are kept.
    """

    at: Array
    below: Array
    above: Array | None
    low: Array
    high: Array


Envelope = tuple[Array, Array, Array]
"""Functions g . x + h above the entries of a ReLU that its lines are at: g, h, and |g| . |x| + |h| at most."""


@dataclass(frozen=True)
class Leaves:
    """Some leaves, one per row.

    Parameters
    ----------
    lines
        By node their lines, where they differ from the ball's.
    pulls
        By node entries, and for each leaf the sums of sign multiplier there.
    push, size
        For each leaf the sum of sign multiplier kink, and of its magnitudes.
    envelopes
        By ReLU the envelopes above it, and each leaf's shares: those of a negative coefficient that go through them.
    """

    lines: dict[str, Lines] = field(default_factory=dict)
    pulls: dict[str, tuple[Array, Array]] = field(default_factory=dict)
    push: Any = 0.0
    size: Any = 0.0
    envelopes: dict[str, tuple[Envelope, Array]] = field(default_factory=dict)


Ends = tuple[Array, Array]
"""Bounds of a node; or entries of it, and rows of coefficients there."""
Ranges = dict[str, Ends]


def leaves_of(tree: Any, network: Network, ranges: Ranges, over: list[dict[str, Envelope]]) -> Iterator[Leaves]:
    """Yield all leaves of a tree, some at a time, given bounds of every node on the ball, and choices of envelopes."""
    paths, multipliers, used = paths_of(tree, network)
    used = np.array(used) if len(over) > 1 else np.zeros(len(paths))
    require(np.isin(used, np.arange(len(over))).all(), "a leaf stands on envelopes that its tree lacks.")
    slopes = slopes_of(tree["slopes"], tree, network, len(paths))
    for name, entry, kink, _ in {cut for path in paths for cut in path}:
        low, high = (side[entry] for side in ranges[name])
        require(low < kink < high, f"a tree cuts entry {entry} of {name}, in [{low}, {high}], at {kink}.")
    for number, envelopes in enumerate(over):
        own = np.flatnonzero(used == number)
        for some in (own[at : at + _LEAVES] for at in range(0, len(own), _LEAVES)):
            chosen = {n: (at, *(s if s is None else s[some] for s in sides)) for n, (at, *sides) in slopes.items()}
            given = [paths[leaf] for leaf in some], [multipliers[leaf] for leaf in some]
            yield rows_of(*given, chosen, network, ranges, envelopes)


def slopes_of(given: Any, tree: Any, network: Network, rows: int) -> Any:
    """Return by node the tree's entries, and the slopes there of the lines below and above in each row."""

    def sides(name: str) -> list[Array | None]:
        return [s and numbers(s, "<f2").reshape(rows, -1) for s in (given[name]["lower"], given[name]["upper"])]

    return {name: (places(part["at"], name, network), *sides(name)) for name, part in tree["slopes"].items()}


def paths_of(tree: Any, network: Network) -> tuple[list[Path], list[Array], list[int]]:
    """Return the constraints of every leaf, their multipliers, and which piece is its, if a tree has pieces."""
    names, kinks = tree["nodes"], iter(numbers(tree["kinks"], "<f8").tolist())
    shape, paths, used, left = numbers(tree["shape"], "<i4").reshape(-1, 2).tolist(), [], [], [()]
    require(len(shape) <= _LARGEST, f"a tree has more than {_LARGEST} nodes.")
    for number, entry in shape:
        path = left.pop()
        if number == -1:
            used.append(entry if entry >= 0 else len(paths))
            paths.append(path)
            continue
        known = 0 <= number < len(names) and 0 <= entry < network.nodes[names[number]].size
        require(known and len(path) < DEEPEST, "a tree cuts what does not exist, or too often.")
        cut = names[number], entry, next(kinks)
        left += [(*path, (*cut, sign)) for sign in (1, -1)]
    require(not left and next(kinks, None) is None, "a tree lacks a part, or has a kink too many.")
    given, ends = numbers(tree["multipliers"], "<f8"), np.cumsum([len(path) for path in paths])
    require(len(given) == ends[-1] and (given >= 0).all(), "a tree's multipliers are not one per cut, or negative.")
    return paths, np.split(given, ends[:-1]), used


def narrowed(ranges: Ranges, path: Path) -> Ranges:
    """Return bounds of every node where the constraints of a path hold; where none can, any bounds hold."""
    ends = {name: (ranges[name][0].copy(), ranges[name][1].copy()) for name, *_ in path}
    for name, entry, kink, sign in path:
        ends[name][sign < 0][entry] = np.clip(kink, *(side[entry] for side in ends[name]))
    return ranges | ends


def rows_of(
    paths: list[Path], betas: list[Array], slopes: Any, network: Network, ranges: Ranges, over: dict[str, Envelope]
) -> Leaves:
    """Return rows that stand on the constraints of each path and their multipliers, on slopes and envelopes."""
    n, cuts = len(paths), {(name, entry) for path in paths for name, entry, _, _ in path}
    sources = {name for name, _ in cuts} | {network.nodes[name].inputs[0] for name in slopes}
    each = [narrowed(ranges, path) for path in paths]
    ends = {name: [np.stack(side) for side in zip(*(one[name] for one in each), strict=True)] for name in sources}
    at = {name: np.array(sorted(e for other, e in cuts if other == name), dtype=int) for name in sources}
    pulls = {name: (entries, np.zeros((n, len(entries)))) for name, entries in at.items() if len(entries)}
    push, size = np.zeros(n), np.zeros(n)
    for leaf, path in enumerate(paths):
        for (name, entry, kink, sign), beta in zip(path, betas[leaf], strict=True):
            pulls[name][1][leaf, np.searchsorted(at[name], entry)] += sign * beta
            push[leaf], size[leaf] = push[leaf] + sign * beta * kink, size[leaf] + beta * abs(kink)
    own = {}
    for name, (entries, below, above) in slopes.items():
        node = network.nodes[name]
        low, high = (side[:, entries] for side in ends[node.inputs[0]])
        chord = lines.chord(node, network.parameters, low, high, entries)
        bends = lines.bends(node, network.parameters, low, high)
        below, above = (chord if s is None else np.where(bends, s.astype(float), chord) for s in (below, above))
        own[name] = Lines(entries, below, above, low, high)
    shares = {name: (one, np.clip(np.asarray(slopes[name][1], dtype=float), 0, 1)) for name, one in over.items()}
    return Leaves(own, pulls, push, size, shares)
