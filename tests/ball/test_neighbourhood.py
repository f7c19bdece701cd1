import pytest
import torch
from hypothesis import given

from ball.reference import DTYPES, NORMS, box_of, cases, contained
from epsball.ball import Ball
from epsball.randomness import Keys

RADIUS = {"linf": "8/255", "l2": "1.5", "l1": "10"}


def batch(n=16, d=300, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = (2 * torch.rand(n, 3, d // 3, dtype=dtype, generator=generator) - 0.5).clamp(0, 1)
    return x, x + torch.randn(x.shape, dtype=dtype, generator=generator) * torch.logspace(-2, 1, n, dtype=dtype)[
        :, None, None
    ]


@given(cases())
def test_the_fast_projection_is_sound_and_idempotent(case):
    ball, points, centres = case
    neighbourhood = ball.at(centres)
    found = neighbourhood.project(points)
    assert contained(ball, found, centres)
    assert torch.equal(neighbourhood.project(found), found)
    assert neighbourhood.inside(found).all()
    assert neighbourhood.inside(points).item() == contained(ball, points, centres)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("boxed", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_it_agrees_with_the_projection_up_to_the_stated_shrink(norm, boxed, dtype):
    x, points = batch(dtype=dtype)
    ball = Ball(norm, RADIUS[norm], **box_of(boxed))
    fast, best = ball.at(x).project(points), ball.project(points, x)
    assert ball.contains(fast, x).all()
    if norm == "linf":
        assert torch.equal(fast, best)
        return
    region = ball.at(x).region
    length, limit = ball.distance(fast, x), ball.distance(best, x)
    assert (length >= torch.minimum(limit, (1 - 2.0**-14) * region.reach[:, 0]) * (1 - 1e-5)).all()
    unit = 2.0**-24 if dtype == torch.float32 else 2.0**-53
    owed = (7 + 3.2 * 35) * unit * float(ball.radius) + 1.2 * unit * ball.distance(x, torch.zeros_like(x)) + 1e-11
    assert (region.reach[:, 0] >= float(ball.radius) - owed).all()
    assert (ball.distance(fast, best) <= 1e-3 * float(ball.radius)).all()


@pytest.mark.parametrize("norm", NORMS)
def test_many_coordinates(norm):
    """3 x 32 x 32 pixels on the grid of k/255: contained always, and close to the sphere."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (8, 3, 32, 32), generator=generator).float() / 255
    ball = Ball(norm, RADIUS[norm])
    neighbourhood = ball.at(x)
    points = x
    for _ in range(4):
        gradient = torch.randn(x.shape, generator=generator)
        step = neighbourhood.ascent(gradient, points)
        points = neighbourhood.project(points + float(ball.radius) * step)
        assert neighbourhood.inside(points).all()
        assert ball.contains(points, x).all()
    assert (ball.distance(points, x) >= 0.9999 * float(ball.radius)).all()


@pytest.mark.parametrize("norm", NORMS)
def test_take_gathers_rows(norm):
    x, points = batch()
    neighbourhood = Ball(norm, RADIUS[norm]).at(x)
    rows = torch.tensor([3, 1, 1, 7])
    taken = neighbourhood.take(rows)
    assert len(taken) == 4
    assert torch.equal(taken.x, x[rows])
    assert torch.equal(taken.project(points[rows]), neighbourhood.project(points)[rows])
    assert torch.equal(taken.inside(points[rows]), neighbourhood.inside(points)[rows])
    mask = torch.arange(16) % 2 == 0
    assert torch.equal(neighbourhood.take(mask).x, x[mask])


@pytest.mark.parametrize("norm", NORMS)
def test_rows_do_not_depend_on_their_batch(norm):
    x, points = batch(n=6)
    ball = Ball(norm, RADIUS[norm])
    whole = ball.at(x).project(points)
    for row in range(6):
        alone = ball.at(x[row : row + 1]).project(points[row : row + 1])
        assert torch.equal(alone, whole[row : row + 1])
    assert torch.equal(ball.project(points, x)[2:4], ball.project(points[2:4], x[2:4]))


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_undecided_points_are_decided_exactly(norm):
    """Points on the sphere itself, one float inside it and one outside."""
    x = torch.zeros(3, 2, dtype=torch.float64)
    points = torch.tensor([[3.0, 4.0]] * 3, dtype=torch.float64)
    points[1, 0], points[2, 0] = torch.nextafter(points[0, :1], torch.tensor([0.0, 9.0], dtype=torch.float64))
    ball = Ball(norm, 5 if norm == "l2" else 7, None, None)
    assert ball.at(x).inside(points).tolist() == [True, True, False]
    assert torch.equal(ball.at(x).inside(points), ball.contains(points, x))


@pytest.mark.parametrize("norm", NORMS)
def test_nan_stays_nan_and_is_outside_and_leaves_other_rows_alone(norm):
    x, points = batch(n=4)
    neighbourhood = Ball(norm, RADIUS[norm]).at(x)
    clean = neighbourhood.project(points)
    points[1, 0, 0] = torch.nan
    found = neighbourhood.project(points)
    assert found[1, 0, 0].isnan()
    assert neighbourhood.inside(found).tolist() == [True, False, True, True]
    assert neighbourhood.inside(clean).all()


@pytest.mark.parametrize("norm", NORMS)
def test_its_samples_are_the_balls_up_to_the_shrink(norm):
    x, _ = batch()
    ball = Ball(norm, RADIUS[norm])
    keys = Keys.of_positions(torch.arange(16), 0)
    fast, best = ball.at(x).sample(keys), ball.sample(x, keys)
    assert ball.contains(fast, x).all()
    assert ball.contains(best, x).all()
    assert (ball.distance(fast, best) <= 1e-3 * float(ball.radius)).all()
