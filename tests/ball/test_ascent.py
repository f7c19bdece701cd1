import math

import pytest
import torch

from ball.reference import DTYPES, NORMS, box_of
from epsball.ball import Ball


def gradients(n=20, d=30, dtype=torch.float64):
    return torch.randn(n, d, dtype=dtype, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("norm", NORMS)
def test_it_maximises_the_linear_gain_over_the_unit_ball(norm):
    """Its gain is the dual norm, which no direction of unit length exceeds (d < 100: l1 takes one coordinate)."""
    g = gradients()
    ball = Ball(norm, 1, None, None)
    step = ball.ascent(g, torch.zeros_like(g))
    gain = (g * step).sum(dim=1)
    torch.testing.assert_close(gain, ball.dual_norm(g))
    others = torch.randn(200, *g.shape, dtype=g.dtype, generator=torch.Generator().manual_seed(1))
    length = ball.distance(others.flatten(0, 1), torch.zeros_like(others).flatten(0, 1)).view(200, -1)
    assert ((others * g).sum(dim=2) / length <= gain * (1 + 1e-12)).all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_steps_have_unit_length_and_the_gradients_shape(norm, dtype):
    g = gradients(dtype=dtype).view(20, 1, 5, 6)
    ball = Ball(norm, 1)
    step = ball.ascent(g, torch.full_like(g, 0.5))
    assert step.shape == g.shape
    assert step.dtype == dtype
    torch.testing.assert_close(
        ball.distance(step, torch.zeros_like(g)), torch.ones(20, dtype=torch.float64), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_rows_stay_zero_and_extreme_ones_keep_their_direction(norm, dtype):
    g = gradients(n=4, dtype=dtype)
    limits = torch.finfo(dtype)
    ball = Ball(norm, 1)
    points = torch.full_like(g, 0.5)
    expected = ball.ascent(g, points)
    largest = g.abs().amax(dim=1, keepdim=True)
    for scale in (limits.tiny, limits.max):
        torch.testing.assert_close(ball.ascent(g / largest * scale, points), expected, atol=1e-5, rtol=0)
    g[2] = 0
    mixed = ball.ascent(g, points)
    assert torch.equal(mixed[2], torch.zeros_like(g[2]))
    assert torch.equal(mixed[[0, 1, 3]], expected[[0, 1, 3]])
    subnormal = torch.zeros_like(g)
    subnormal[:, 3] = -limits.smallest_normal * limits.eps
    unit = torch.zeros_like(g)
    unit[:, 3] = -1
    assert torch.equal(ball.ascent(subnormal, points), unit)


def test_l1_takes_the_largest_percent():
    g = gradients(n=3, d=500)
    step = Ball("l1", 1, None, None).ascent(g, torch.zeros_like(g))
    for row in range(3):
        top = set(g[row].abs().topk(5).indices.tolist())
        assert set(step[row].nonzero()[:, 0].tolist()) == top
        assert all(step[row, i].item() == math.copysign(0.2, g[row, i].item()) for i in top)


@pytest.mark.parametrize("boxed", [True, False])
def test_l1_moves_only_where_there_is_room_in_the_box(boxed):
    g = torch.tensor([[5.0, -4.0, 3.0, 2.0], [-5.0, 4.0, 0.0, 0.0], [5.0, -4.0, 3.0, -2.0]])
    points = torch.tensor([[1.0, 0.0, 0.5, 0.5], [0.0, 1.0, 0.5, 0.5], [1.0, 0.0, 1.0, 0.0]])
    step = Ball("l1", 1, **box_of(boxed)).ascent(g, points)
    expected = [[0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]] if boxed else [[1, 0, 0, 0], [-1, 0, 0, 0], [1, 0, 0, 0]]
    assert step.tolist() == expected


def test_l1_leaves_coordinates_that_rounding_keeps_from_their_wall():
    g = torch.tensor([[5.0, -4.0, 3.0, 2.0]])
    points = torch.tensor([[1 - 1e-6, 1e-4, 0.5, 0.5]])
    assert Ball("l1", 1).ascent(g, points).tolist() == [[0, 0, 1, 0]]


def test_l1_divides_the_step_among_the_coordinates_that_can_move():
    g = torch.zeros(1, 300)
    g[0, 7], g[0, 9] = 2.0, -1.0
    step = Ball("l1", 1).ascent(g, torch.full_like(g, 0.5))
    assert step[0, 7].item() == 0.5
    assert step[0, 9].item() == -0.5
    assert step.abs().sum().item() == 1.0
