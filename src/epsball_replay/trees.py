"""Trees of cuts: what a certificate says of each leaf, and what holds there.

An inner node cuts an entry of a node's value at a kink into z <= kink and z >= kink. A tree is a list in preorder, so
that both parts of every cut are in it: the leaves cover the ball, whatever the cuts are, also for the deployed network,
whose z is one float. Within a leaf every node that takes a cut value has lines on the interval that is left, and
sign (z - kink) >= 0 for each cut, which may be subtracted from a row times a multiplier that is not negative.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from epsball_replay import lines
from epsball_replay.files import numbers, places
from epsball_replay.network import Array, Network, require

DEEPEST, _LARGEST, _LEAVES = 2**12, 2**20, 32

Path = tuple[tuple[str, int, int, float], ...]
"""The constraints of a leaf: node, entry, sign and kink."""


class Lines(NamedTuple):
    """Slopes of each row's own lines at some entries of a node, (rows, m), and the intervals, (m,) or (rows, m).

    Without slopes above the node's own lines are kept.
    """

    at: Array
    below: Array
    above: Array | None
    low: Array
    high: Array


@dataclass(frozen=True)
class Leaves:
    """Some leaves, one per row.

    Parameters
    ----------
    count
        Their number.
    lines
        By node their lines, where they differ from the ball's.
    pulls
        By node entries, and for each leaf the sums of sign multiplier there.
    push, size
        For each leaf the sum of sign multiplier kink, and of its magnitudes.
    """

    count: int
    lines: dict[str, Lines] = field(default_factory=dict)
    pulls: dict[str, tuple[Array, Array]] = field(default_factory=dict)
    push: Any = 0.0
    size: Any = 0.0


def leaves_of(tree: dict[str, Any], network: Network, ranges: dict[str, tuple[Array, Array]]) -> list[Leaves]:
    """Return all leaves of a tree, some at a time, given bounds of every node on the ball."""
    paths, names = _paths(tree, network), list(tree["slopes"])
    given, ends = numbers(tree["multipliers"], "<f8"), np.cumsum([len(path) for path in paths])
    require(len(given) == ends[-1] and (given >= 0).all(), "a tree's multipliers are not one per cut, or negative.")
    multipliers, slopes = np.split(given, ends[:-1]), {}
    for name in names:
        part, at = tree["slopes"][name], places(tree["slopes"][name]["at"], name, network)
        sides = (part["lower"], part["upper"])
        slopes[name] = at, *(s if s is None else numbers(s, "<f2").reshape(len(paths), len(at)) for s in sides)
    for name, entry, _, kink in {cut for path in paths for cut in path}:
        low, high = (side[entry] for side in ranges[name])
        require(low < kink < high, f"a tree cuts entry {entry} of {name}, in [{low}, {high}], at {kink}.")
    found = []
    for start in range(0, len(paths), _LEAVES):
        some = slice(start, start + _LEAVES)
        chosen = {name: (at, *(s if s is None else s[some] for s in sides)) for name, (at, *sides) in slopes.items()}
        found.append(_some(paths[some], multipliers[some], chosen, network, ranges))
    return found


def _paths(tree: dict[str, Any], network: Network) -> list[Path]:
    names, kinks = tree["nodes"], iter(numbers(tree["kinks"], "<f8").tolist())
    shape, paths, left = numbers(tree["shape"], "<i4").reshape(-1, 2).tolist(), [], [()]
    require(len(shape) <= _LARGEST, f"a tree has more than {_LARGEST} nodes.")
    for number, entry in shape:
        require(left, "a tree has parts that no cut makes.")
        path = left.pop()
        if number == -1:
            paths.append(path)
            continue
        known = 0 <= number < len(names) and 0 <= entry < network.nodes[names[number]].size
        require(known and len(path) < DEEPEST, "a tree cuts what does not exist, or too often.")
        kink = next(kinks)
        left += [(*path, (names[number], entry, sign, kink)) for sign in (1, -1)]
    require(not left and next(kinks, None) is None, "a tree lacks a part, or has a kink too many.")
    return paths


def _some(
    paths: list[Path], multipliers: list[Array], slopes: dict[str, Any], network: Network, ranges: dict[str, Any]
) -> Leaves:
    n, cuts = len(paths), {(name, entry) for path in paths for name, entry, _, _ in path}
    sources = {name for name, _ in cuts} | {network.nodes[name].inputs[0] for name in slopes}
    ends = {name: [np.tile(side, (n, 1)) for side in ranges[name]] for name in sources}
    at = {name: np.array(sorted(e for other, e in cuts if other == name), dtype=int) for name in sources}
    pulls = {name: (entries, np.zeros((n, len(entries)))) for name, entries in at.items() if len(entries)}
    push, size = np.zeros(n), np.zeros(n)
    for leaf, path in enumerate(paths):
        for (name, entry, sign, kink), beta in zip(path, multipliers[leaf], strict=True):
            side = ends[name][0 if sign > 0 else 1][leaf]
            side[entry] = max(side[entry], kink) if sign > 0 else min(side[entry], kink)
            pulls[name][1][leaf, np.searchsorted(at[name], entry)] += sign * beta
            push[leaf] += sign * beta * kink
            size[leaf] += beta * abs(kink)
    own = {}
    for name, (entries, below, above) in slopes.items():
        node = network.nodes[name]
        low, high = (side[:, entries] for side in ends[node.inputs[0]])
        chord = lines.chord(node, network.parameters, low, high, entries)
        bends = lines.bends(node, network.parameters, low, high)
        sides = (chord if side is None else np.where(bends, side.astype(float), chord) for side in (below, above))
        own[name] = Lines(entries, *sides, low, high)
    return Leaves(n, own, pulls, push, size)
