"""The dual network: theorem 1 of Wong and Kolter, and random projections that estimate it."""

import pytest
import torch
from torch import nn

from epsball import Ball, InputError, UnsupportedOperation, train
from epsball.certificates import Domain, LiveNetwork
from epsball.randomness import Keys
from epsball.training import Recipe, WongKolter
from epsball.training.objectives.certified import wong_kolter
from epsball.training.objectives.certified.dual_bounds import exact_dual, projected_dual
from training.contexts import context
from training.objectives.certified.references import batch, box, dual_boxes, dual_margins, network, worst_case

RADIUS = 0.05
BALL = Ball("linf", RADIUS)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_loss_is_that_of_theorem_1(norm):
    """Values and gradients; l2 without the pixels' box, as published."""
    ball = Ball("linf", RADIUS) if norm == "linf" else Ball("l2", RADIUS, None, None)
    module, (x, y) = network(batch_norm=False), batch()
    found = WongKolter(ball=ball)(module, x, y, context(len(x))).examples
    ends = box(x, RADIUS)
    more = {} if norm == "linf" else {"x": x, "radius": RADIUS}
    expected = worst_case(dual_margins(module, y, dual_boxes(module, ends, **more), ends, **more), y)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    parameters = list(module.parameters())
    for a, b in zip(*(torch.autograd.grad(v.square().sum(), parameters) for v in (found, expected)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_projections_estimate_the_exact_bounds_better_the_more_there_are(norm):
    ball = Ball(norm, RADIUS) if norm == "linf" else Ball(norm, 4 * RADIUS, None, None)
    module, (x, y) = network(), batch()
    module.eval()
    live = LiveNetwork.of(module, (1, 8, 8))
    problem = live.problem(Domain.of(ball, x), y)
    exact = problem.propagate(parameters=live.parameters(), refine=exact_dual(live.graph)).boxes
    name = next(node.name for node in reversed(live.graph.nodes) if node.shape == (12,) and "linear" in node.name)

    def error(count: int) -> torch.Tensor:
        refine = projected_dual(live.graph, count, Keys.of_positions(torch.tensor([0]), 5))
        estimated = problem.propagate(parameters=live.parameters(), refine=refine).boxes[name]
        width = exact[name].high - exact[name].low
        return (((estimated.high - estimated.low) - width) / width).detach()

    few, many = error(20), error(2000)
    assert float(many.abs().mean()) < 0.06
    assert float(many.mean().abs()) < 0.06
    assert float(many.abs().mean()) < 0.5 * float(few.abs().mean())


def test_in_l2_the_box_makes_the_bounds_no_looser():
    module, (x, y) = network(), batch()
    losses = [
        WongKolter(ball=ball)(module.eval(), x, y, context(len(x))).examples
        for ball in (Ball("l2", 0.5), Ball("l2", 0.5, None, None))
    ]
    assert bool((losses[0] <= losses[1] + 1e-9).all())


def test_draws_are_those_of_the_step():
    module, (x, y) = network(), batch()
    objective = WongKolter(ball=Ball("linf", RADIUS), projections=10)
    found = [objective(module, x, y, context(len(x), step=step)).examples for step in (3, 3, 4)]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_what_the_dual_network_cannot_be_made_of_is_named():
    smooth = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 10))
    with pytest.raises(UnsupportedOperation, match="affine layers and rectifiers; .*Elementwise"):
        train(smooth, "digits,first=200", objective=WongKolter(ball=BALL), recipe=Recipe(epochs=1, batch_size=50))


def test_exact_bounds_that_would_not_fit_are_refused(monkeypatch):
    monkeypatch.setattr(wong_kolter, "LIMIT", 2**20)
    with pytest.raises(InputError, match=r"hold rows of .* GiB\. Give projections=50"):
        train(mlp_of_two(), "digits", objective=WongKolter(ball=BALL), recipe=Recipe(epochs=1, batch_size=1000))


def mlp_of_two() -> nn.Sequential:
    layers = (layer for _ in range(2) for layer in (nn.Linear(64, 64), nn.ReLU()))
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(64, 10))


def test_other_norms_and_negative_numbers_are_refused():
    with pytest.raises(InputError, match="for linf and l2"):
        WongKolter(ball=Ball("l1", 1))
    with pytest.raises(InputError, match="projections is -1"):
        WongKolter(ball=BALL, projections=-1)
