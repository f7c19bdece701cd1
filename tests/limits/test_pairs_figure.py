"""The hard pairs are the nearest of the coupling, and their midpoints lie in both balls."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from epsball.ball import Ball
from epsball.errors import InputError
from epsball.limits import optimal_risk
from epsball.limits.figures import hard_pairs


def images(n: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, 17, (n, 1, 2, 2)) / np.float32(16)), torch.arange(n) % classes


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_each_row_shows_a_conflict_and_what_both_balls_hold(norm, classes):
    x, y = images(24, classes)
    radius = Fraction(3, 16)
    optimum = optimal_risk(x, y, norm=norm, radii=[radius]).optimum(radius)
    figure = hard_pairs(x, y, norm, optimum, count=3)
    shown = [torch.from_numpy(np.asarray(axes.images[0].get_array())) for axes in figure.axes]
    ball = Ball(norm, radius, None, None)
    apart = []
    for a, middle, b in zip(shown[::3], shown[1::3], shown[2::3], strict=True):
        assert ball.contains(middle[None], a[None]).item()
        assert ball.contains(middle[None], b[None]).item()
        apart.append(ball.distance(a[None], b[None]).item())
    assert apart == sorted(apart)
    titles = [axes.get_title() for axes in figure.axes]
    for i, j in zip(titles[::3], titles[2::3], strict=True):
        (label, first), (other, second) = (map(int, t.replace("label", "").split(", example")) for t in (i, j))
        assert label == y[first] != y[second] == other
    pairs = {frozenset(pair) for pair in optimum.coupling.tolist()}
    assert len(shown) == 3 * min(3, len(pairs))


@pytest.mark.usefixtures("as_users_run")
def test_what_is_not_drawn():
    x, y = images(8, 2)
    none = optimal_risk(x, y, radii=["1e-6"]).optimum("1e-6")
    with pytest.raises(InputError, match="no two examples conflict at radius 1e-06"):
        hard_pairs(x, y, "l2", none)
    with pytest.raises(InputError, match=r"shape \(8, 4\)"):
        hard_pairs(x.reshape(8, 4), y, "l2", none)
