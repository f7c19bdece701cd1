"""Outlines against the norms themselves."""

import numpy as np
import pytest
import torch

import epsball as eb
from epsball.masking.landscape.outline import ball_outline, box_outline, neighbourhood_outline

NORMS = ("linf", "l2", "l1")
ORDER = {"linf": np.inf, "l2": 2, "l1": 1}


def plane(norm, seed, d=40, radius=0.2):
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(2, d, generator=generator, dtype=torch.float64)
    v[1] -= v[0] * (v[0] @ v[1]) / (v[0] @ v[0])
    v *= radius / torch.linalg.vector_norm(v, ORDER[norm], dim=1, keepdim=True)
    x = torch.rand(d, generator=generator, dtype=torch.float64)
    return eb.Ball(norm, radius), x, v[0], v[1]


def within(polygon, points, slack):
    """Return which points lie in a convex counter-clockwise polygon, grown by `slack`."""
    inside = np.full(len(points), len(polygon) > 2)
    for a, b in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        side = (b[0] - a[0]) * (points[:, 1] - a[1]) - (b[1] - a[1]) * (points[:, 0] - a[0])
        inside &= side >= -slack * np.linalg.norm(b - a)
    return inside


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_section_of_the_ball_is_where_the_norm_is_at_most_the_radius(norm, seed):
    ball, _, v1, v2 = plane(norm, seed)
    outline = ball_outline(ball, v1, v2)
    corners = torch.from_numpy(outline) @ torch.stack([v1, v2])
    lengths = torch.linalg.vector_norm(corners, ORDER[norm], dim=1)
    torch.testing.assert_close(lengths, torch.full_like(lengths, float(ball.radius)))
    e = np.random.default_rng(seed).uniform(-2, 2, (2000, 2))
    size = np.linalg.norm(e @ torch.stack([v1, v2]).numpy(), ord=ORDER[norm], axis=1) / float(ball.radius)
    clear = np.abs(size - 1) > 1e-4
    assert (within(outline, e, 1e-9) == (size <= 1))[clear].all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ball_and_box_together(norm, seed):
    ball, x, v1, v2 = plane(norm, seed, d=12)
    e = np.random.default_rng(seed).uniform(-1.5, 1.5, (4000, 2))
    points = x.numpy() + e @ torch.stack([v1, v2]).numpy()
    in_box = ((points >= 0) & (points <= 1)).all(1)
    in_ball = np.linalg.norm(points - x.numpy(), ord=ORDER[norm], axis=1) <= float(ball.radius) * (1 + 1e-4)
    both = within(neighbourhood_outline(ball, x, v1, v2), e, 1e-3)
    assert (both & ~(in_box & in_ball)).mean() < 0.02
    assert (within(box_outline(ball, x, v1, v2, 1.5), e, 1e-6) == in_box).all()


def test_an_example_in_a_corner_of_the_box_keeps_the_wedge_that_is_left():
    ball = eb.Ball("linf", 0.5)
    x, v1, v2 = torch.zeros(2), torch.tensor([0.5, 0.0]), torch.tensor([0.0, 0.5])
    outline = neighbourhood_outline(ball, x, v1, v2)
    assert {tuple(corner) for corner in np.unique(outline.round(9) + 0.0, axis=0)} == {(0, 0), (1, 0), (0, 1), (1, 1)}


def test_without_a_box_the_square_is_whole():
    ball = eb.Ball("l2", 0.5, None, None)
    x, v1, v2 = torch.zeros(2), torch.tensor([0.5, 0.0]), torch.tensor([0.0, 0.5])
    assert np.abs(box_outline(ball, x, v1, v2, 1.5)).min() == 1.5
    assert len(neighbourhood_outline(ball, x, v1, v2)) == 720
