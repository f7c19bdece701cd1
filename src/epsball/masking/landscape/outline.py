"""The outlines of ball and box in a plane: exact polygons (in l2 a circle of 720 chords)."""

import math

import numpy as np
from jaxtyping import Float
from torch import Tensor

from epsball.ball import Ball

Polygon = Float[np.ndarray, "_ 2"]
"""Corners in order, in the coordinates of the plane; empty where nothing is inside."""

_CHORDS = 720
_TINY = 1e-9
SQUARE = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
"""The corners of [-1, 1]^2, counter-clockwise."""


def box_outline(ball: Ball, x: Tensor, v1: Tensor, v2: Tensor, reach: float) -> Polygon:
    """Return the part of the square [-reach, reach]^2 whose points x + e1 v1 + e2 v2 lie in the box."""
    square = reach * SQUARE
    if ball.low is None or ball.high is None:
        return square
    normals, centre = _columns(v1, v2), x.detach().cpu().double().flatten().numpy()
    return clipped(square, np.concatenate([normals, -normals]), np.concatenate([ball.high - centre, centre - ball.low]))


def ball_outline(ball: Ball, v1: Tensor, v2: Tensor) -> Polygon:
    """Return the section {e : norm(e1 v1 + e2 v2) <= radius} of the ball without the box."""
    normals, radius = _columns(v1, v2), float(ball.radius)
    if ball.norm == "l1":
        return _l1_section(normals, radius)
    if ball.norm == "linf":
        # norm_2 <= sqrt(d) norm_inf bounds both coordinates.
        reach = radius * math.sqrt(len(normals)) / np.linalg.norm(normals, axis=0).min()
        return clipped(reach * SQUARE, np.concatenate([normals, -normals]), np.full(2 * len(normals), radius))
    angle = np.linspace(0.0, 2 * math.pi, _CHORDS, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    # v1 and v2 are orthogonal, but need not be equally long.
    return circle * (radius / np.linalg.norm(circle @ normals.T, axis=1))[:, None]


def neighbourhood_outline(ball: Ball, x: Tensor, v1: Tensor, v2: Tensor) -> Polygon:
    """Return the section of N(x), ball and box."""
    section = ball_outline(ball, v1, v2)
    reach = 2 * float(np.abs(section).max())
    box = box_outline(ball, x, v1, v2, reach)
    if len(box) < 3:
        return box
    edges = np.roll(box, -1, axis=0) - box
    normals = np.stack([edges[:, 1], -edges[:, 0]], axis=1)
    return clipped(section, normals, (normals * box).sum(1))


def clipped(polygon: Polygon, normals: Float[np.ndarray, "m 2"], offsets: Float[np.ndarray, " m"]) -> Polygon:
    """Return the part of a convex polygon, counter-clockwise, where normals @ e <= offsets.

    The half-plane that cuts deepest is cut first, again and again, so that few of thousands are.
    """
    length = np.linalg.norm(normals, axis=1)
    some = length > 0
    normals, offsets = normals[some] / length[some, None], offsets[some] / length[some]
    for _ in range(len(normals)):
        if len(polygon) == 0:
            break
        excess = (polygon @ normals.T).max(axis=0) - offsets
        worst = int(excess.argmax())
        if excess[worst] <= _TINY:
            break
        polygon = _cut(polygon, normals[worst], float(offsets[worst]))
    return polygon


def _cut(polygon: Polygon, normal: Float[np.ndarray, " 2"], offset: float) -> Polygon:
    """Return the part of a convex polygon on one side of a line (Sutherland and Hodgman)."""
    height = polygon @ normal - offset
    corners: list[Float[np.ndarray, " 2"]] = []
    for i in range(len(polygon)):
        j = (i + 1) % len(polygon)
        if height[i] <= 0:
            corners.append(polygon[i])
        if (height[i] < 0 < height[j]) or (height[j] < 0 < height[i]):
            corners.append(polygon[i] + height[i] / (height[i] - height[j]) * (polygon[j] - polygon[i]))
    return np.array(corners).reshape(-1, 2)


def _l1_section(normals: Float[np.ndarray, "d 2"], radius: float) -> Polygon:
    """Return {e : sum_i abs(<n_i, e>) <= radius}: its corners lie where some <n_i, e> is 0.

    Up to a sign n_i = abs(n_i) (-sin a_i, cos a_i) with a_i in [0, pi), so that along the angle a the term is
    abs(n_i) abs(sin(a - a_i)): at the sorted a_j the sum is <sum_{i<j} n_i - sum_{i>j} n_i, (cos a_j, sin a_j)>.
    """
    size = np.linalg.norm(normals, axis=1)
    normals, size = normals[size > 0], size[size > 0]
    angle = np.arctan2(-normals[:, 0], normals[:, 1]) % math.pi
    order = np.argsort(angle, kind="stable")
    angle, size = angle[order], size[order]
    across = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    n = size[:, None] * np.stack([-across[:, 1], across[:, 0]], axis=1)
    before = np.cumsum(n, axis=0) - n
    after = n.sum(axis=0) - before - n
    upper = across * (radius / ((before - after) * across).sum(axis=1))[:, None]
    return np.concatenate([upper, -upper])


def _columns(v1: Tensor, v2: Tensor) -> Float[np.ndarray, "d 2"]:
    return np.stack([v.detach().cpu().double().flatten().numpy() for v in (v1, v2)], axis=1)
