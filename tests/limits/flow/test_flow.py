import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_flow

from epsball.limits.flow import flow as module
from epsball.limits.flow.bipartite import Bipartite
from epsball.limits.flow.flow import Flow, raise_readings


def graph_of(matrix: np.ndarray, levels: np.ndarray) -> Bipartite:
    """Return the graph of a boolean matrix whose entries appear at `levels`."""
    start, neighbour, level = [0], [], []
    for row, when in zip(matrix, levels, strict=True):
        ends = np.flatnonzero(row)
        ends = ends[np.argsort(when[ends], kind="stable")]
        neighbour += ends.tolist()
        level += when[ends].tolist()
        start.append(len(neighbour))
    level = np.array(level, dtype=np.uint16)
    return Bipartite(
        start=np.array(start), neighbour=np.array(neighbour, dtype=np.int32), level=level, sort_key=level,
        offset=0, right=matrix.shape[1],
    )  # fmt: skip


def by_scipy(matrix: np.ndarray, left: np.ndarray, right: np.ndarray) -> int:
    a, b = matrix.shape
    capacity = np.zeros((a + b + 2, a + b + 2), dtype=np.int32)
    capacity[0, 1 : a + 1] = left
    capacity[1 : a + 1, a + 1 : a + b + 1] = matrix * 10_000
    capacity[a + 1 : a + b + 1, a + b + 1] = right
    return int(maximum_flow(csr_matrix(capacity), 0, a + b + 1).flow_value)


@given(st.integers(0, 10_000), st.sampled_from([0.02, 0.1, 0.5]), st.sampled_from([1, 9]), st.booleans())
def test_every_level_is_a_maximum_flow(seed, density, largest, bits):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(1, 40, 2)
    matrix = rng.random((a, b)) < density
    levels = rng.integers(0, 3, (a, b))
    left, right = rng.integers(0, largest + 1, a), rng.integers(0, largest + 1, b)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SPARSE", 10**9 if bits else 0)
        flow = Flow(graph_of(matrix, levels), left, right)
    for level in range(3):
        present = matrix & (levels <= level)
        assert flow.raise_to(level) == by_scipy(present, left, right)
        pairs = flow.coupling()
        assert present[pairs.left, pairs.right].all()
        assert (np.bincount(pairs.left, weights=pairs.amount, minlength=a) == left - flow.state.excess).all()
        assert (np.bincount(pairs.right, weights=pairs.amount, minlength=b) == right - flow.state.space).all()
        # A cover of the flow's value proves that it is maximal.
        reached, reached_right = flow.reached()
        assert not present[np.ix_(reached, ~reached_right)].any()
        assert left[~reached].sum() + right[reached_right].sum() == flow.value


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_cover_status_is_what_no_single_change_contradicts(seed):
    """A left node is in no minimum cover exactly where one more unit of it raises the flow."""
    rng = np.random.default_rng(seed)
    matrix = rng.random((9, 8)) < 0.25
    left, right = rng.integers(1, 4, 9), rng.integers(1, 4, 8)
    graph = graph_of(matrix, np.zeros((9, 8), dtype=int))
    flow = Flow(graph, left, right)
    value = flow.raise_to(0)
    side, other = flow.cover_status()
    for u in range(9):
        one = np.eye(9, dtype=int)[u]
        assert (by_scipy(matrix, left + one, right) > value) == side.always[u]
        assert (by_scipy(matrix, left - one, right) == value) == side.never[u]
    for v in range(8):
        one = np.eye(8, dtype=int)[v]
        assert (by_scipy(matrix, left, right + one) > value) == other.always[v]
        assert (by_scipy(matrix, left, right - one) == value) == other.never[v]


def test_a_long_chain():
    """Each left node meets the next 16 right nodes of a shuffled line, where scipy's matching does not end."""
    n, rng = 3000, np.random.default_rng(0)
    rows, columns = rng.permutation(n), rng.permutation(n)
    matrix = np.zeros((n, n), dtype=bool)
    for i in range(n):
        matrix[rows[i], columns[i : i + 16]] = True
    flow = Flow(graph_of(matrix, np.zeros((n, n), dtype=int)), np.ones(n, dtype=int), np.ones(n, dtype=int))
    assert flow.raise_to(0) == n


def test_records_grow_when_flow_is_split_finely():
    flow = Flow(
        graph_of(np.ones((3, 200), dtype=bool), np.zeros((3, 200), dtype=int)),
        np.full(3, 100),
        np.full(200, 1),
    )
    assert flow.raise_to(0) == 200
    many = Flow(
        graph_of(np.ones((40, 40), dtype=bool), np.zeros((40, 40), dtype=int)),
        np.arange(40) + 7,
        np.arange(40)[::-1] + 7,
    )
    assert many.raise_to(0) == (np.arange(40) + 7).sum()


@given(st.integers(0, 10_000), st.booleans())
def test_a_stricter_reading_and_the_flow_that_continues_from_it(seed, bits):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(1, 30, 2)
    matrix = rng.random((a, b)) < 0.3
    levels = rng.integers(0, 3, (a, b))
    late = np.maximum(levels, rng.integers(0, 4, (a, b)) * (rng.random((a, b)) < 0.3))
    left, right = rng.integers(0, 5, a), rng.integers(0, 5, b)
    whole = graph_of(matrix, levels)
    rows = np.repeat(np.arange(a), np.diff(whole.start))
    strict = Bipartite(**{**vars(whole), "level": late[rows, whole.neighbour].astype(np.uint16)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SPARSE", 10**9 if bits else 0)
        stricter, flow = Flow(strict, left, right), Flow(whole, left, right)
    for level in range(3):
        raise_readings([flow, stricter], level)
        assert stricter.value == by_scipy(matrix & (late <= level), left, right)
        assert flow.value == by_scipy(matrix & (levels <= level), left, right)
