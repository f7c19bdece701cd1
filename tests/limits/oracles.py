"""Slow and plain oracles: distances in integers, all classifiers, all hyperedges."""

import math
from fractions import Fraction
from itertools import combinations

import numpy as np
from scipy.optimize import linprog


def integer_keys(x: np.ndarray, norm: str) -> np.ndarray:
    gaps = np.abs(x[:, None, :].astype(np.int64) - x[None, :, :].astype(np.int64))
    return {"linf": gaps.max(axis=2), "l1": gaps.sum(axis=2), "l2": (gaps**2).sum(axis=2)}[norm]


def conflict_matrix(x: np.ndarray, y: np.ndarray, norm: str, radius: Fraction, scale: int = 255) -> np.ndarray:
    limit = math.floor((2 * radius * scale) ** (2 if norm == "l2" else 1))
    return (integer_keys(x, norm) <= limit) & (y[:, None] != y[None, :])


def best_of_all_classifiers(conflict: np.ndarray, weights: np.ndarray) -> float:
    """Return the least risk over every choice of examples to keep; kept examples must not conflict."""
    kept = free_choices(conflict)
    return 1.0 - float((kept * weights).sum(axis=1).max())


def free_choices(conflict: np.ndarray) -> np.ndarray:
    """Return all choices of examples, boolean rows, of which no two conflict."""
    n = len(conflict)
    kept = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    return kept[((kept @ conflict.astype(np.int64)) * kept).sum(axis=1) == 0].astype(bool)


def cliques(conflict: np.ndarray, largest: int) -> list[tuple[int, ...]]:
    found = []
    for size in range(2, largest + 1):
        for members in combinations(range(len(conflict)), size):
            if all(conflict[i, j] for i, j in combinations(members, 2)):
                found.append(members)  # noqa: PERF401
    return found


def enclosing_square(points: np.ndarray) -> Fraction:
    """Return the squared radius of the smallest ball: its centre is that of a sphere through some points."""
    best = None
    for size in range(1, len(points) + 1):
        for subset in combinations(range(len(points)), size):
            p = [[Fraction(int(v)) for v in points[i]] for i in subset]
            centre = _circumcentre(p)
            if centre is None:
                continue
            squares = [sum((Fraction(int(a)) - c) ** 2 for a, c in zip(point, centre, strict=True)) for point in points]
            square = max(squares)
            best = square if best is None else min(best, square)
    assert best is not None
    return best


def _circumcentre(p: list[list[Fraction]]) -> list[Fraction] | None:
    """Return the point of the affine hull at equal distance from all of p."""
    edges = [[a - b for a, b in zip(q, p[0], strict=True)] for q in p[1:]]
    gram = [[2 * sum(a * b for a, b in zip(e, f, strict=True)) for f in edges] for e in edges]
    right = [sum(a * a for a in e) for e in edges]
    rows = [[*g, r] for g, r in zip(gram, right, strict=True)]
    for i in range(len(rows)):
        pivot = next((r for r in range(i, len(rows)) if rows[r][i] != 0), None)
        if pivot is None:
            return None
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [entry / rows[i][i] for entry in rows[i]]
        for r in range(len(rows)):
            if r != i:
                rows[r] = [a - rows[r][i] * b for a, b in zip(rows[r], rows[i], strict=True)]
    return [c + sum(row[-1] * e[k] for row, e in zip(rows, edges, strict=True)) for k, c in enumerate(p[0])]


def soft_risk(n: int, hyperedges: list[tuple[int, ...]], weights: np.ndarray) -> float:
    """Return 1 - max w'q over all hyperedges at once, by HiGHS."""
    if not hyperedges:
        return 0.0
    A = np.zeros((len(hyperedges), n))
    for row, members in enumerate(hyperedges):
        A[row, list(members)] = 1.0
    solved = linprog(-weights, A_ub=A, b_ub=np.ones(len(A)), bounds=(0, 1), method="highs")
    return 1.0 + float(solved.fun)
