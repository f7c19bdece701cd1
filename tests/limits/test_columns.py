"""What the audit's right end says: states, limit, cross-entropy from both sides."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from epsball.ball import Ball
from epsball.limits import adversarial_cross_entropy, link_columns, optimal_risk
from epsball.limits import columns as link

X = np.array([[0, 0], [3, 0], [90, 0], [94, 0], [200, 9]], np.uint8)
Y = np.array([0, 1, 1, 0, 1])


@given(st.integers(0, 10_000), st.integers(2, 5))
def test_margins_bound_the_cross_entropy(seed, classes):
    logits = torch.from_numpy(np.random.default_rng(seed).normal(scale=4.0, size=(20, classes)))
    y = torch.arange(20) % classes
    true = logits.gather(1, y[:, None])[:, 0]
    others = logits.scatter(1, y[:, None], -torch.inf)
    found = adversarial_cross_entropy((true - others.amax(dim=1)).numpy())
    expected = float(torch.nn.functional.cross_entropy(logits, y))
    assert found <= expected + 1e-12
    if classes == 2:
        assert found == pytest.approx(expected, abs=1e-12)


def test_margins_that_are_missing_or_without_end():
    assert adversarial_cross_entropy(np.array([np.nan, np.inf])) == 0.0
    assert adversarial_cross_entropy(np.array([0.0, np.nan])) == pytest.approx(np.log(2.0) / 2)
    assert adversarial_cross_entropy(np.array([0.0, -np.inf])) == np.inf
    assert adversarial_cross_entropy(np.array([-800.0])) == pytest.approx(800.0)


def test_columns_limit_and_cross_entropy_are_in_the_order_of_the_data():
    found = link_columns(X, Y, Ball("l2", "2/255"))
    assert found.columns["limit.hard"] == ["either"] * 4 + ["safe"]
    assert found.limit == optimal_risk(X, Y, radii=["2/255"]).curve[0]
    # The pair at distance 4 = 2 radius touches, and its common point may be no float32.
    pairs = 1 if found.limit.stored < 0.3 else 2
    assert found.cross_entropy == pytest.approx(2 * pairs * np.log(2.0) / 5)


def test_too_many_conflicts_leave_the_cross_entropy_open(monkeypatch):
    monkeypatch.setattr(link, "MOST_CONFLICTS", 1)
    assert link_columns(X, Y, Ball("l2", "2/255")).cross_entropy is None
