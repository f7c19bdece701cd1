"""Trees of cuts: what a certificate says of each leaf, and what holds there.

An inner node cuts an entry of a node's value at a kink into z <= kink and z >= kink. A tree is a list in preorder, so
that both parts of every cut are in it: the leaves cover the ball, whatever the cuts are, also for the deployed network,
whose z is one float. Within a leaf every node that takes a cut value has lines on the interval that is left, and
sign (z - kink) >= 0 for each cut, which may be subtracted from a row times a multiplier that is not negative.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from epsball_replay import lines
from epsball_replay.arithmetic import gamma
from epsball_replay.files import numbers, places
from epsball_replay.network import Array, Network, Node, require
from epsball_replay.region import Region

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


class Envelope(NamedTuple):
    """Functions g . x + h above ReLUs at some entries, |g| . |x| + |h| at most, and their shares, (leaves, m).

    For z <= a . x + a0 and any g, h = max(a0 + max (a - g) . x, max -g . x) is enough. A share of a negative
    coefficient goes through the envelope, the rest through the line above.
    """

    at: Array
    g: Array
    h: Array
    size: Array
    shares: Array


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
    envelopes
        By ReLU the envelopes above it.
    """

    count: int
    lines: dict[str, Lines] = field(default_factory=dict)
    pulls: dict[str, tuple[Array, Array]] = field(default_factory=dict)
    push: Any = 0.0
    size: Any = 0.0
    envelopes: dict[str, Envelope] = field(default_factory=dict)


Above = Callable[[Node], tuple[Array, Array, Array]]
"""Entries of a node's value, and functions a . x + a0 above them: (m,), (m, d) and (m,)."""


def leaves_of(
    tree: dict[str, Any], network: Network, ranges: dict[str, tuple[Array, Array]], region: Region, above: Above
) -> list[Leaves]:
    """Return all leaves of a tree, some at a time, given bounds of every node on the ball."""
    paths = _paths(tree, network)
    given, ends = numbers(tree["multipliers"], "<f8"), np.cumsum([len(path) for path in paths])
    require(len(given) == ends[-1] and (given >= 0).all(), "a tree's multipliers are not one per cut, or negative.")
    multipliers, slopes, envelopes = np.split(given, ends[:-1]), {}, {}
    for name, part in tree["slopes"].items():
        at = places(part["at"], name, network)
        sides = (part["lower"], part["upper"])
        slopes[name] = at, *(s if s is None else numbers(s, "<f2").reshape(len(paths), len(at)) for s in sides)
    for name, part in tree["envelopes"].items():
        at, node = places(part["at"], name, network), network.nodes[name]
        plain = node.attributes.get("function") == "relu" and np.isin(at, slopes[name][0]).all()
        require(plain, f"node {name}, or some entry of it, has no envelopes.")
        levels = numbers(part["levels"], "u1").reshape(len(at), -1)
        shares = slopes[name][1][:, _columns(slopes[name][0], at)].clip(0, 1).astype(float)
        envelopes[name] = _envelope(at, levels, *above(network.nodes[node.inputs[0]]), region)._replace(shares=shares)
    for name, entry, _, kink in {cut for path in paths for cut in path}:
        low, high = (side[entry] for side in ranges[name])
        require(low < kink < high, f"a tree cuts entry {entry} of {name}, in [{low}, {high}], at {kink}.")
    found = []
    for start in range(0, len(paths), _LEAVES):
        some = slice(start, start + _LEAVES)
        chosen = {name: (at, *(s if s is None else s[some] for s in sides)) for name, (at, *sides) in slopes.items()}
        leaves = _some(paths[some], multipliers[some], chosen, network, ranges)
        over = {name: one._replace(shares=one.shares[some]) for name, one in envelopes.items()}
        found.append(replace(leaves, envelopes=over))
    return found


def _columns(among: Array, at: Array) -> Array:
    order = np.argsort(among)
    columns = order[np.searchsorted(among, at, sorter=order).clip(max=len(among) - 1)]
    require((among[columns] == at).all(), "a tree is about neurons that have no slopes of their own.")
    return columns


def _envelope(at: Array, levels: Array, known: Array, a: Array, a0: Array, region: Region) -> Envelope:
    rows = _columns(known, at)
    a, a0 = a[rows], a0[rows]
    g, everywhere = levels / 255 * a, np.arange(a.shape[1])
    most = np.maximum(np.abs(region.low), np.abs(region.high))
    size = (np.abs(a) + np.abs(g)) @ most + np.abs(a0)
    h = np.maximum(a0 - region.least(g - a, everywhere), -region.least(g, everywhere))
    h = h + gamma(len(most) + 16) * size * 2 + 1e-300
    return Envelope(at, g, h, np.abs(g) @ most + np.abs(h), levels)


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
