from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epsball.limits.conflicts import graph as module
from epsball.limits.conflicts.graph import conflicts
from epsball.limits.conflicts.sample import sample
from epsball.limits.conflicts.scans import NEAR
from limits.oracles import integer_keys

NORMS = ["linf", "l2", "l1"]


def grid_at_ties(keys: np.ndarray, norm: str) -> tuple[Fraction, ...]:
    """Return radii at which pairs just touch, so that every rounding error would show."""
    values = np.unique(keys)[:: max(1, len(np.unique(keys)) // 6)]
    power = 2 if norm == "l2" else 1
    roots = [Fraction(int(v)) if power == 1 else Fraction(int(np.sqrt(float(v)))) for v in values]
    return tuple(sorted({root / 510 for root in roots}))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dimension", [1, 7, 784])
def test_levels_are_those_of_integers(norm, dimension, monkeypatch):
    monkeypatch.setattr(module, "_TILE_ROWS", 16)
    monkeypatch.setattr(module, "_TILE_COLUMNS", 40)
    rng = np.random.default_rng(dimension)
    x = rng.integers(0, 256, (90, dimension)).astype(np.uint8)
    x[45:] = np.clip(x[:45].astype(int) + rng.integers(-3, 4, (45, dimension)), 0, 255)
    y = np.sort(rng.integers(0, 3, 90))
    keys = integer_keys(x, norm)
    radii = grid_at_ties(keys, norm)
    data = sample(x, y)
    graph = conflicts(data, norm, radii)
    limits = [int((510 * r) ** 2) if norm == "l2" else int(510 * r) for r in radii]
    expected = {
        (u, v): int(np.searchsorted(limits, keys[u, v]))
        for u in range(90) for v in range(u + 1, 90) if y[u] != y[v] and keys[u, v] <= limits[-1]
    }  # fmt: skip
    rows, ends = data.order[graph.rows_of(np.arange(len(graph)))], data.order[graph.neighbour]
    levels = (graph.level & (NEAR - 1)).tolist()
    assert dict(zip(zip(rows.tolist(), ends.tolist(), strict=True), levels, strict=True)) == expected
    for u in range(90):
        row = levels[graph.start[u] : graph.start[u + 1]]
        assert row == sorted(row)


@settings(max_examples=30)
@given(st.integers(0, 1000), st.sampled_from(NORMS), st.sampled_from([np.float32, np.float64]))
def test_no_float_pair_is_a_conflict_that_fractions_deny(seed, norm, dtype):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(12, 3)).astype(dtype)
    y = np.arange(12) % 2
    power = 2 if norm == "l2" else 1
    points = [[Fraction(float(a)) for a in row] for row in x]
    exact = {
        (u, v): max(gaps) if norm == "linf" else sum(gap**power for gap in gaps)
        for u, v in product(range(0, 12, 2), range(1, 12, 2))
        for gaps in [[abs(a - b) for a, b in zip(points[u], points[v], strict=True)]]
    }
    radius = Fraction(float(np.sqrt(float(exact[0, 1])) if power == 2 else exact[0, 1])) / 2
    data = sample(x, y)
    graph = conflicts(data, norm, (radius,))
    found = {
        (int(data.order[u]), int(data.order[v]))
        for u, v in zip(graph.rows_of(np.arange(len(graph))), graph.neighbour, strict=True)
    }
    truth = {pair for pair, key in exact.items() if key <= (2 * radius) ** power}
    assert found <= truth
    assert len(truth - found) <= graph.undecided_pairs[0]


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from(NORMS), st.integers(1, 9), st.sampled_from(["uint8", "float", "far"]))
def test_boxes_leave_out_no_conflict(seed, norm, dimension, kind):
    """Few coordinates: blocks far apart are never compared, and every edge is found nevertheless."""
    rng = np.random.default_rng(seed)
    x = (np.cumsum(rng.integers(0, 6, (80, dimension)), axis=0) % 256).astype(np.uint8)
    x = {"uint8": x, "float": np.sqrt(x), "far": 1e9 * x - 3e11}[kind]
    y = rng.integers(0, 3, 80)
    y[:3] = range(3)
    width = {"uint8": Fraction(1, 255), "float": Fraction(1, 4), "far": Fraction(10**9)}[kind]
    radii = tuple(width * k / 2 for k in (0, 3, 6))
    with pytest.MonkeyPatch.context() as patch:
        for name, size in (("_TILE_ROWS", 8), ("_TILE_COLUMNS", 16), ("_BOX_COLUMNS", 4)):
            patch.setattr(module, name, size)
        boxed = edges_of(x, y, norm, radii)
        patch.setattr(module, "FEW", 0)
        assert boxed == edges_of(x, y, norm, radii)


def edges_of(x: np.ndarray, y: np.ndarray, norm: str, radii: tuple[Fraction, ...]) -> dict[tuple[int, int], int]:
    data = sample(x, y)
    graph = conflicts(data, norm, radii)
    ends = data.order[np.stack([graph.rows_of(np.arange(len(graph))), graph.neighbour], axis=1)]
    return dict(zip(map(tuple, ends.tolist()), graph.level.tolist(), strict=True))


def test_boxes_save_comparisons(monkeypatch):
    """Two lines of points: each block meets only the blocks beside it."""
    monkeypatch.setattr(module, "_TILE_ROWS", 64)
    monkeypatch.setattr(module, "_BOX_COLUMNS", 64)
    data = sample(np.repeat(np.linspace(0, 1, 2048), 2)[:, None], np.arange(4096) % 2)
    panels = module._Panels(data, 2.0, Fraction(1, 10**6))
    compared = [len(panels.near(slice(low, low + 64))) for low in range(0, 2048, 64)]
    assert max(compared) <= 3


def test_identical_points_conflict_at_radius_zero():
    for dtype in (np.uint8, np.float32):
        x = np.array([[7, 1], [7, 1], [8, 1]]).astype(dtype)
        assert len(conflicts(sample(x, np.array([0, 1, 1])), "l2", (Fraction(0),))) == 1


def test_scales_of_integers():
    k = np.array([[0, 3], [16, 5]])
    assert sample(k.astype(np.uint8), np.array([0, 1])).scale == 255
    assert sample((k / 16).astype(np.float32), np.array([0, 1])).scale == 16
    assert sample((k / 255).astype(np.float32), np.array([0, 1])).scale == 255
    assert sample((k * np.float32(1 / 255)).astype(np.float32) + np.float32(0.1), np.array([0, 1])).scale is None
