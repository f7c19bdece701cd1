"""Linear functions on balls of l1 cut by the box: bounds of verifier, search and checker, and the exact least."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from epsball.ball import Ball
from epsball.certificates import Domain
from epsball.certificates.arithmetic import BINARY64
from epsball.certificates.branching.relaxation.matrices import Sparse
from epsball.certificates.branching.relaxation.region import Region

UNIT = st.integers(0, 16).map(lambda k: k / 16)
STEEP = st.one_of(st.integers(-8, 8).map(lambda k: k / 4), st.floats(-4, 4, width=32))
RADIUS = st.fractions(0, 3, max_denominator=64)


@st.composite
def cut_balls(draw):
    """Draw a centre in the unit box, a radius, and some linear functions."""
    d = draw(st.integers(1, 5))
    x = torch.tensor([draw(st.lists(UNIT, min_size=d, max_size=d))])
    rows = draw(st.lists(st.lists(STEEP, min_size=d, max_size=d), min_size=1, max_size=3))
    return x, draw(RADIUS), torch.tensor([rows], dtype=torch.float64)


def exact_least(x, radius: Fraction, row) -> Fraction:
    """Return the least value by filling the steepest entries first, in rational numbers."""
    left, value = radius, sum((Fraction(a) * Fraction(c) for a, c in zip(row, x, strict=True)), Fraction(0))
    for a, c in sorted(zip(row, x, strict=True), key=lambda pair: -abs(pair[0])):
        step = min(left, Fraction(c) if a > 0 else 1 - Fraction(c))
        left, value = left - step, value - abs(Fraction(a)) * step
    return value


@given(cut_balls())
def test_the_least_on_ball_and_box_together_is_met_from_below(given_):
    x, radius, rows = given_
    ball = Ball("l1", radius)
    domain = Domain.of(ball, x)
    found = domain.least(rows, lambda part: part, BINARY64.gamma)[0].tolist()
    region = Region.of(domain, torch.float64)
    searched, points = region.least(rows[0].T)
    by_row, _ = region.least_by_row(Sparse.of(rows[0]))
    for at, row in enumerate(rows[0].tolist()):
        least = exact_least(x[0].tolist(), radius, row)
        assert found[at] <= least
        assert found[at] >= least - 1e-12
        assert float(searched[at]) == pytest.approx(float(least), abs=1e-12)
        assert float(by_row[at]) == pytest.approx(float(least), abs=1e-12)
    assert ((points >= -1e-12) & (points <= 1 + 1e-12)).all()
    assert float((points - x[0].unsqueeze(1)).abs().sum(dim=0).max()) <= float(radius) + 1e-12


@given(cut_balls())
def test_the_checker_finds_the_same(given_):
    pytest.importorskip("flint", reason="the checker needs the extra replay")
    from epsball_replay.region import Region as Checked

    x, radius, rows = given_
    d = x.shape[1]
    region = Checked("l1", x[0].double().numpy(), radius, [np.zeros(d), np.ones(d)])
    found = region.least(rows[0].numpy(), np.arange(d))
    for value, row in zip(found.tolist(), rows[0].tolist(), strict=True):
        least = exact_least(x[0].tolist(), radius, row)
        # What it leaves to its caller is the rounding of A . x.
        assert least - Fraction(1, 10**12) <= Fraction(value) <= least + Fraction(1, 10**14)


@pytest.mark.parametrize("seed", range(4))
def test_the_least_is_that_of_a_linear_program_also_on_parts_of_the_box(seed):
    """On a part that does not hold the centre the bound stays below, and no looser than over either set alone."""
    generator = torch.Generator().manual_seed(seed)
    d, radius = 6, 0.75
    x, rows = torch.rand(1, d, generator=generator), torch.randn(1, 3, d, generator=generator, dtype=torch.float64)
    whole = Domain.of(Ball("l1", radius), x)
    ends = whole.box.low.clone(), whole.box.high.clone()
    ends[seed % 2][0, :2] = 0.5 * (whole.box.low + whole.box.high)[0, :2] + 0.1 * (1 - 2 * (seed % 2))
    part = Domain(box=type(whole.box)(*ends), centre=whole.centre, norm="l1", radius=whole.radius)
    for domain, equal in ((whole, True), (part, False)):
        found = domain.least(rows, lambda part: part, BINARY64.gamma)[0]
        for at, row in enumerate(rows[0]):
            least = _by_program(domain, row)
            assert float(found[at]) <= least + 1e-9
            assert not equal or float(found[at]) == pytest.approx(least, abs=1e-7)
        over_box = (rows[0].clamp(min=0) * domain.box.low + rows[0].clamp(max=0) * domain.box.high).sum(dim=1)
        over_ball = rows[0] @ x[0].double() - radius * rows[0].abs().amax(dim=1)
        assert (found >= torch.maximum(over_box, over_ball) - 1e-9).all()


def _by_program(domain: Domain, row: torch.Tensor) -> float:
    """Minimise row . x over the box and x = c + p - q, p, q >= 0, sum(p + q) <= radius."""
    d = len(row)
    unit = np.eye(d)
    ends = list(zip(domain.box.low[0].tolist(), domain.box.high[0].tolist(), strict=True))
    found = linprog(
        np.concatenate([row.numpy(), np.zeros(2 * d)]),
        A_eq=np.concatenate([unit, -unit, unit], axis=1),
        b_eq=domain.centre[0].numpy(),
        A_ub=np.concatenate([np.zeros(d), np.ones(2 * d)])[None],
        b_ub=[domain.radius],
        bounds=ends + [(0, None)] * (2 * d),
    )
    assert found.success
    return float(found.fun)


def test_gradients_are_where_the_least_is():
    x, radius = torch.tensor([[0.5, 0.9, 0.1, 0.5]]), 0.55
    rows = torch.tensor([[[1.0, -2.0, 0.5, 0.25]]], dtype=torch.float64, requires_grad=True)
    domain = Domain.of(Ball("l1", radius), x)
    (gradient,) = torch.autograd.grad(domain.least(rows, lambda part: part).sum(), rows)
    _, point = Region.of(domain, torch.float64).least(rows.detach()[0].T)
    assert torch.allclose(gradient[0, 0], point[:, 0], atol=1e-6)
