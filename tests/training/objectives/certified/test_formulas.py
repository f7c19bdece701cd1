"""Certified objectives against the published formulas, values and gradients, in float64."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from epsball import Ball
from epsball.certificates import Domain, LiveNetwork
from epsball.training import CROWNIBP, IBP, MTLIBP, SABR, Certified
from epsball.training.objectives.certified.batch_bounds import BatchBounds
from epsball.training.objectives.certified.initialisation import initialise_for_intervals
from epsball.training.objectives.certified.schedule import radius_share
from epsball.training.objectives.inner_search import shrunk
from training.contexts import context
from training.objectives.certified.references import (
    CLASSES,
    backward_bound,
    batch,
    box,
    differences,
    interval_margins,
    network,
    pre_activations,
    worst_case,
)

RADIUS = 0.04
BALL = Ball("linf", RADIUS)


def compare(objective: Certified, expected, *, share: float = 1.0, batch_norm: bool = True) -> None:
    """Hold losses and gradients to those of a formula of (module, x, y)."""
    module, (x, y) = network(batch_norm=batch_norm), batch()
    found = objective(module, x, y, context(len(x), share=share)).examples
    parameters = list(module.parameters())
    gradients = torch.autograd.grad(found.square().sum(), parameters)
    reference = expected(module, x, y)
    torch.testing.assert_close(found, reference, rtol=0, atol=1e-9)
    for a, b in zip(gradients, torch.autograd.grad(reference.square().sum(), parameters), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


def natural(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return functional.cross_entropy(module(x), y, reduction="none")


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_ibp(share, batch_norm):
    """Kappa CE + (1 - kappa) CE(z'), kappa from 1 to 1/2, at the share of the radius in force."""

    def expected(module, x, y):
        margins = interval_margins(module, x, y, *box(x, RADIUS * share))
        kappa = 1.0 - 0.5 * share
        return kappa * natural(module, x, y) + (1.0 - kappa) * worst_case(margins, y)

    compare(IBP(ball=BALL), expected, share=share, batch_norm=batch_norm)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_crown_ibp(batch_norm):
    """The mean of both margins, beta from 1 to 0, kappa from 1 to 0."""

    def expected(module, x, y):
        ends = box(x, RADIUS * 0.25)
        margins = interval_margins(module, x, y, *ends), backward_bound(module, x, differences(y), *ends)
        robust = worst_case(0.25 * margins[0] + 0.75 * margins[1], y)
        return 0.75 * natural(module, x, y) + 0.25 * robust

    compare(CROWNIBP(ball=BALL), expected, share=0.25, batch_norm=batch_norm)


def test_at_the_full_radius_crown_ibp_is_ibp():
    module, (x, y) = network(), batch()
    found = [o(module, x, y, context(len(x))).examples for o in (CROWNIBP(ball=BALL), IBP(ball=BALL, kappa=0.0))]
    torch.testing.assert_close(*found)


def test_loss_fusion():
    """Log of 1 + sum of chords of exp, whose linear part is bounded as one row."""

    def expected(module, x, y):
        ends = box(x, RADIUS)
        rows, others = -differences(y), functional.one_hot(y, CLASSES) == 0
        high, low = -interval_margins(module, x, y, *ends), _least_differences(module, x, y, ends)
        width = torch.where(others, high - low, 1.0)
        slope = others * (high.exp() - low.exp()) / width
        intercept = others * (low.exp() - slope * low)
        linear = -backward_bound(module, x, -(slope[:, :, None] * rows).sum(1, keepdim=True), *ends)[:, 0]
        return torch.log(1.0 + intercept.sum(1) + linear)

    compare(CROWNIBP(ball=BALL, beta=1.0, fusion="loss"), expected)


def _least_differences(module, x: Tensor, y: Tensor, ends: tuple[Tensor, Tensor]) -> Tensor:
    """Return lower bounds of z_j - z_y by intervals."""
    low, high = (end.clamp(min=0)[:, :, None] for end in pre_activations(module, x, *ends)[1])
    weight, bias = -differences(y) @ module[6].weight, -differences(y) @ module[6].bias
    return (weight.clamp(min=0) @ low + weight.clamp(max=0) @ high)[..., 0] + bias


@pytest.mark.parametrize("fusion", ["none", "loss"])
def test_the_robust_loss_is_above_the_loss_at_every_point(fusion):
    module, (x, y) = network(), batch()
    objective = CROWNIBP(ball=BALL, beta=1.0, fusion=fusion)
    robust = objective(module, x, y, context(len(x))).parts["robust"]
    live = LiveNetwork.of(module, (1, 8, 8))
    parameters = live.clean_pass(module, x).parameters
    for _ in range(50):
        points = (x + RADIUS * (2 * torch.rand_like(x) - 1).sign()).clamp(0, 1)
        assert bool((robust >= functional.cross_entropy(live.logits(points, parameters), y, reduction="none")).all())


def _bounds(objective: Certified, module, x, y) -> BatchBounds:
    live = LiveNetwork.of(module, (1, 8, 8))
    parameters = live.clean_pass(module, x).parameters
    given = {"module": module, "x": x, "y": y, "ball": objective.ball, "context": context(len(x)), "progress": 1.0}
    return BatchBounds(live=live, parameters=parameters, **given)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_small_boxes_lie_in_the_ball_and_are_those_that_sabr_bounds(norm):
    objective = SABR(ball=Ball(norm, RADIUS), subselection=0.3, steps=3)
    module, (x, y) = network(), batch()
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    small = objective.boxes(_bounds(objective, module, x, y)).box
    module.load_state_dict(state)
    outer = Domain.of(objective.ball, x).box
    assert bool((small.low >= outer.low).all() & (small.high <= outer.high).all() & (small.low <= small.high).all())
    assert float((small.high - small.low).max()) <= 2 * 0.3 * RADIUS + 1e-12
    moved = ((small.low + small.high) / 2 - x).abs().flatten(1).amax(1)
    assert bool((moved > 0.2 * RADIUS if norm == "linf" else moved > 0).all())
    found = objective(module, x, y, context(len(x))).examples
    # The search ran at the running statistics of before the pass; here they are those of after it.
    assert bool((found >= 0).all())
    if norm == "linf":
        margins = interval_margins(module, x, y, small.low, small.high)
        torch.testing.assert_close(
            _losses_over(objective, module, x, y, small), worst_case(margins, y), atol=1e-9, rtol=0
        )


def _losses_over(objective: SABR, module, x, y, small) -> Tensor:
    bounds = _bounds(objective, module, x, y)
    domain = Domain(box=small, centre=x, norm="linf", radius=RADIUS)
    return bounds.loss(bounds.interval(bounds.propagate(domain)))


def test_sabr_of_the_whole_box_is_ibp():
    module, (x, y) = network(), batch()
    objectives = SABR(ball=BALL, subselection=1.0), IBP(ball=BALL, kappa=0.0)
    torch.testing.assert_close(*(o(module, x, y, context(len(x))).examples for o in objectives))


def test_mtl_ibp():
    """(1 - alpha) CE(h(x')) + alpha CE(z'), x' with the statistics of the clean batch."""
    objective = MTLIBP(ball=BALL, alpha=0.3, steps=2)

    def expected(module, x, y):
        x_adv = objective._search()(
            module, lambda z: functional.cross_entropy(z, y, reduction="none"), x, context(len(x))
        )
        assert float((x_adv - x).abs().max()) <= RADIUS + 1e-12
        live = LiveNetwork.of(module, (1, 8, 8))
        logits = live.logits(x_adv, live.clean_pass(module, x).parameters)
        margins = interval_margins(module, x, y, *box(x, RADIUS))
        adversarial = functional.cross_entropy(logits, y, reduction="none")
        return 0.7 * adversarial + 0.3 * worst_case(margins, y)

    compare(objective, expected, batch_norm=False)


def test_the_regularisers_of_the_warm_up():
    """As in the authors' code: means and standard terms of each layer's box."""
    module, (x, y) = network(), batch()
    share, tau = 0.4, 0.5
    objective = IBP(ball=BALL, regulariser=0.8, tolerance=tau, l1=1e-3)
    found = objective(module, x, y, context(len(x), share=share)).weights
    assert found is not None
    low, high = box(x, RADIUS * share)
    width = ((high - low) / 2).mean()
    terms = []
    for least, most in pre_activations(module, x, low, high):
        centre, half = (most + least) / 2, (most - least) / 2
        tightness = functional.relu(tau - width / half.mean()) / tau
        active, inactive = least > 0, most < 0
        means = (centre * active).mean() / -(centre * inactive).mean()
        spread = (centre - centre.mean()).square()
        spreads = (spread * active).sum() / (spread * inactive).sum()
        ratios = [torch.minimum(ratio, 1 / ratio) for ratio in (means, spreads)]
        balance = sum(functional.relu(tau - ratio) for ratio in ratios) / tau
        terms.append(tightness + (balance if bool(active.any() and inactive.any()) else 0.0))
    l1 = sum(module[i].weight.abs().sum() for i in (1, 4, 6))
    expected = 0.8 * (1 - share) * torch.stack(terms).mean() + 1e-3 * l1
    torch.testing.assert_close(found, expected)
    parameters = list(module.parameters())
    for a, b in zip(*(torch.autograd.grad(v, parameters[:6]) for v in (found, expected)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


class Sum(nn.Module):
    """Two branches, their sum, and a layer behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = nn.Linear(64, 300), nn.Linear(64, 300), nn.Linear(300, 300), nn.Linear(300, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return self.d(torch.relu(self.c(torch.relu(self.a(x) + self.b(x)))))


def test_the_initialisation_draws_every_layer_but_the_last():
    module = Sum()
    last, bias = module.d.weight.clone(), module.a.bias.clone()
    initialise_for_intervals(LiveNetwork.of(module, (1, 8, 8)), seed=0)
    for layer, factor in ((module.a, 1.0), (module.b, 1.0), (module.c, 0.5)):
        expected = factor * math.sqrt(2 * math.pi) / layer.in_features
        assert float(layer.weight.detach().std()) == pytest.approx(expected, rel=0.03)
    assert torch.equal(module.d.weight, last)
    assert torch.equal(module.a.bias, bias)


def test_the_smooth_ramp_is_smooth_and_reaches_both_ends():
    steps = [i / 1000 for i in range(1001)]
    for ramp in ("linear", "smooth"):
        shares = [radius_share(t, ramp, 0.2) for t in steps]
        assert shares[200] == 0
        assert shares[-1] == 1
        assert all(b >= a for a, b in pairwise(shares))
    slopes = [radius_share(t + 1e-6, "smooth", 0.0) - radius_share(t, "smooth", 0.0) for t in (0.2499, 0.2501)]
    assert slopes[0] == pytest.approx(slopes[1], rel=1e-2)


def test_a_share_of_radius_0_trains_at_the_points_themselves():
    module, (x, y) = network(), batch()
    for objective in (
        IBP(ball=BALL, hold=0.5),
        SABR(ball=BALL, hold=0.5, steps=2),
        MTLIBP(ball=BALL, hold=0.5, steps=2),
    ):
        losses = objective(module, x, y, context(len(x), share=0.4))
        torch.testing.assert_close(losses.parts["robust"], losses.parts["natural"])
    assert shrunk(BALL, 0.0).radius == 0
