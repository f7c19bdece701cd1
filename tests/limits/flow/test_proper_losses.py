from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from epsball.errors import InputError
from epsball.limits import optimal_risk, prior_weights
from limits.oracles import conflict_matrix


def cloud(seed: int, n: int, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    y[:classes] = np.arange(classes)
    return rng.integers(0, 14, (n, 2)).astype(np.uint8), y


def least(conflict: np.ndarray, loss, start: float) -> float:
    n = len(conflict)
    u, v = np.nonzero(np.triu(conflict))
    A = np.zeros((len(u), n))
    A[np.arange(len(u)), u] = A[np.arange(len(u)), v] = 1.0
    constraints = [{"type": "ineq", "fun": lambda q: 1.0 - A @ q, "jac": lambda q: -A}] if len(u) else []
    solved = minimize(
        lambda q: loss(q).mean(), np.full(n, start), bounds=[(1e-6, 1.0)] * n, constraints=constraints,
        method="SLSQP", options={"ftol": 1e-13, "maxiter": 1000},
    )  # fmt: skip
    return float(solved.fun)


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(2, 4))
def test_least_losses_equal_a_convex_solver(seed, classes):
    """More than two classes: over pairs, by the double cover."""
    x, y = cloud(seed, 14, classes)
    radius = Fraction(4, 510)
    conflict = conflict_matrix(x, y, "l2", radius)
    losses = optimal_risk(x, y, radii=[radius]).losses()
    assert losses.cross_entropy[0] == pytest.approx(least(conflict, lambda q: -np.log(q), 0.4), abs=1e-6)
    assert losses.brier[0] == pytest.approx(least(conflict, lambda q: (1 - q) ** 2, 0.4), abs=1e-6)


@settings(max_examples=12)
@given(st.integers(0, 10_000))
def test_one_pair_of_distributions_solves_every_prior(seed):
    """Thresholding the posterior of the least favourable pair solves the 0-1 problem at any prior."""
    x, y = cloud(seed, 30)
    radius = Fraction(5, 510)
    result = optimal_risk(x, y, radii=[radius])
    pair = result.least_favourable(radius)
    posterior = np.where(y == 1, pair.guarantee, 1 - pair.guarantee)
    conflict = conflict_matrix(x, y, "l2", radius)
    u, v = np.nonzero(conflict)
    assert (pair.guarantee[u] + pair.guarantee[v] <= 1 + 1e-12).all()
    counts = np.bincount(y)
    for share in (Fraction(1, 2), Fraction(1, 5), Fraction(7, 9)):
        weights = prior_weights(y, {0: 1 - share, 1: share})
        best = optimal_risk(x, y, radii=[radius], weights=weights).curve[0].risk.value
        # Bayes risk of the moved distributions under these priors.
        w = np.where(y == 1, float(share), float(1 - share)) / counts[y]
        odds = posterior / counts[1] * float(share), (1 - posterior) / counts[0] * float(1 - share)
        given_up = np.where(y == 1, odds[0] < odds[1] - 1e-12, odds[0] >= odds[1] - 1e-12)
        assert float(w[given_up].sum()) == pytest.approx(best, abs=1e-9)


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_moved_mass_is_there_and_moves_along_conflicts(seed):
    x, y = cloud(seed, 25)
    radius = Fraction(5, 510)
    pair = optimal_risk(x, y, radii=[radius]).least_favourable(radius)
    conflict = conflict_matrix(x, y, "l2", radius)
    assert conflict[pair.pairs[:, 0], pair.pairs[:, 1]].all()
    sent = np.bincount(pair.pairs.ravel(), weights=pair.mass.ravel(), minlength=25)
    certain = pair.guarantee == 1.0
    assert sent[certain] == pytest.approx(np.zeros(certain.sum()))
    assert sent[~certain] == pytest.approx(np.full((~certain).sum(), 1 / 25))
    # At the common point of a pair the posterior is the guarantee, for both of its examples.
    share = pair.mass[:, 0] / pair.mass.sum(axis=1)
    assert share == pytest.approx(pair.guarantee[pair.pairs[:, 0]])


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(2, 4))
def test_no_soft_classifier_loses_less(seed, classes):
    """Whatever it answers at the midpoints of conflicting pairs and at the examples, the adversary takes the worst."""
    x, y = cloud(seed, 25, classes)
    radius = Fraction(5, 510)
    result = optimal_risk(x, y, radii=[radius])
    conflict = conflict_matrix(x, y, "l2", radius)
    rng = np.random.default_rng(seed)
    points = [
        x.astype(float),
        *((x[u] + x[v].astype(float))[None] / 2 for u, v in zip(*np.nonzero(conflict), strict=True)),
    ]
    points = np.unique(np.concatenate(points), axis=0)
    answers = rng.dirichlet(np.full(classes, 0.7), len(points))
    near = np.linalg.norm(x[:, None] - points[None], axis=2) <= float(255 * radius) + 1e-9
    q = np.where(near, answers[:, y].T, 1.0).min(axis=1)
    assert -np.log(q).mean() >= result.losses().cross_entropy[0]
    assert ((1 - q) ** 2).mean() >= result.losses().brier[0]


def test_the_least_favourable_pair_is_one_of_two_classes():
    result = optimal_risk(np.eye(3), np.arange(3), radii=[1])
    with pytest.raises(InputError, match="3 classes"):
        result.least_favourable(1)
