import torch

from epsball import Ball
from epsball.attacks.parts.pgd_loop import ascend


def test_the_loop_is_the_published_update():
    x = torch.full((2, 3), 0.5, dtype=torch.float64)
    slope = torch.tensor([[1.0, -2.0, 0.0], [0.5, 0.5, 3.0]], dtype=torch.float64)
    seen = []

    def evaluate(points):
        seen.append(points.clone())
        return (slope * points).sum(1), slope, None

    last, _ = ascend(evaluate, x, Ball("linf", 0.25).at(x), [0.1, 0.1, 0.1])
    assert len(seen) == 3
    torch.testing.assert_close(seen[1], x + 0.1 * slope.sign())
    torch.testing.assert_close(last, x + 0.25 * slope.sign())
    assert torch.equal(last[0, 2], x[0, 2])


def test_the_l2_step_is_normalised_per_example_and_a_zero_gradient_takes_no_step():
    x = torch.full((2, 2), 0.5, dtype=torch.float64)
    slope = torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.float64)
    last, _ = ascend(lambda points: (points.sum(1), slope, None), x, Ball("l2", 1).at(x), [0.1])
    torch.testing.assert_close(last, torch.tensor([[0.56, 0.58], [0.5, 0.5]], dtype=torch.float64))


def test_rows_that_do_not_go_on_are_gathered_away():
    x = torch.arange(12, dtype=torch.float64).reshape(4, 3) / 12
    widths = []

    def evaluate(points):
        widths.append(len(points))
        keep = torch.arange(1, len(points)) if len(points) > 2 else None
        return points.sum(1), torch.ones_like(points), keep

    last, neighbourhood = ascend(evaluate, x, Ball("linf", 0.1).at(x), [0.01] * 4)
    assert widths == [4, 3, 2, 2]
    assert torch.equal(neighbourhood.x, x[2:])
    torch.testing.assert_close(last, (x[2:] + 0.04).clamp(0, 1))
