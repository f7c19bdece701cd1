"""TAPS and STAPS against their formulas, and the search in an inner layer."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from epsball import Ball, InputError, train
from epsball.certificates import Box, Domain, LiveNetwork
from epsball.training import STAPS, TAPS, Recipe
from epsball.training.objectives.certified.latent import GradientLink, latent_node, latent_points
from training.contexts import context
from training.objectives.certified.references import (
    CLASSES,
    batch,
    box,
    interval_margins,
    network,
    pre_activations,
    worst_case,
)

RADIUS = 0.05
BALL = Ball("linf", RADIUS)


def margins_at(module: nn.Module, points: Tensor, y: Tensor) -> Tensor:
    """Return z_y - z_j by class j, at the point of each j; 0 at y."""
    others = torch.arange(CLASSES).expand(len(y), -1)
    others = others[others != y[:, None]].view(len(y), -1)
    z = module[6](functional.relu(module[4](points)))
    own = z.gather(2, y[:, None, None].expand(-1, CLASSES - 1, 1))
    return torch.zeros(len(y), CLASSES).double().scatter(1, others, (own - z.gather(2, others[:, :, None]))[..., 0])


def test_the_loss_is_the_product_with_the_gradient_of_the_link():
    """At the points of the search itself; the gradients of the first factor reach the box, five times."""
    module, (x, y) = network(batch_norm=False), batch()
    objective = TAPS(ball=BALL, latent_steps=3)
    found = objective(module, x, y, context(len(x))).examples
    ends = box(x, RADIUS)
    low, high = (end.clamp(min=0) for end in pre_activations(module, x, *ends)[0])
    live = LiveNetwork.of(module, (1, 8, 8))
    problem = live.problem(Domain.of(BALL, x), y)
    name, keys = latent_node(live, 1), context(len(x)).keys.derive("latent")
    points = latent_points(live, name, Box(low, high), problem.specification, live.parameters(), steps=3, keys=keys)
    # x = a l + b u + rest with the link's weights a and b, constants: the same gradient in l and u.
    slack = (0.5 * (high - low).detach()).clamp(min=1e-5)[:, None]
    to_low = ((low.detach()[:, None] + slack - points) / slack).clamp(0, 1)
    to_high = ((points - (high.detach()[:, None] - slack)) / slack).clamp(0, 1)
    rest = points - to_low * low.detach()[:, None] - to_high * high.detach()[:, None]
    linked = to_low * low[:, None] + to_high * high[:, None] + rest
    first, second = worst_case(margins_at(module, linked, y), y), worst_case(interval_margins(module, x, y, *ends), y)
    torch.testing.assert_close(found, first * second, rtol=0, atol=1e-9)
    parameters = list(module.parameters())
    expected = [
        5 * a + b
        for a, b in zip(
            torch.autograd.grad((first * second.detach()).sum(), parameters, retain_graph=True),
            torch.autograd.grad((first.detach() * second).sum(), parameters),
            strict=True,
        )
    ]
    for a, b in zip(torch.autograd.grad(found.sum(), parameters), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)


def test_the_search_finds_points_of_the_box_between_the_margins_of_its_middle_and_the_bounds():
    module, (x, y) = network(), batch()
    module.eval()
    live = LiveNetwork.of(module, (1, 8, 8))
    problem = live.problem(Domain.of(BALL, x), y)
    bounds = problem.propagate(parameters=live.parameters())
    name, rows = latent_node(live, 1), problem.specification
    inner = bounds.boxes[name]
    keys = context(len(x)).keys
    points = latent_points(live, name, inner, rows, live.parameters(), steps=10, keys=keys)
    low, high = inner.low[:, None], inner.high[:, None]
    assert bool(((points >= low) & (points <= high)).all())
    at = [margins_at(module, p, y) for p in (points, ((low + high) / 2).expand_as(points))]
    assert float((at[0] - at[1]).detach().mean()) < 0
    lower = live.worst_logits(-problem_bounds(bounds, problem), y)
    assert bool((at[0] >= lower - 1e-9).all())


def problem_bounds(bounds, problem) -> Tensor:
    from epsball.certificates.methods import interval_rows

    return interval_rows(bounds, problem.specification)


def test_while_the_radius_rises_taps_is_ibp():
    module, (x, y) = network(), batch()
    loss = TAPS(ball=BALL)(module, x, y, context(len(x), share=0.5)).examples
    margins = interval_margins(module, x, y, *box(x, 0.5 * RADIUS))
    torch.testing.assert_close(loss, worst_case(margins, y))


def test_staps_of_the_whole_box_is_taps():
    module, (x, y) = network(), batch()
    found = [o(module, x, y, context(len(x))).examples for o in (TAPS(ball=BALL), STAPS(ball=BALL, subselection=1.0))]
    torch.testing.assert_close(*found)


def test_the_link_gives_a_gradient_to_the_near_end_only():
    low, high = torch.zeros(1, 1, 5, requires_grad=True), torch.ones(1, 1, 5, requires_grad=True)
    x = torch.tensor([[[0.0, 0.25, 0.5, 0.75, 1.0]]])
    GradientLink.apply(low, high, x, 0.5).sum().backward()
    assert low.grad is not None
    assert high.grad is not None
    assert low.grad.flatten().tolist() == [1.0, 0.5, 0.0, 0.0, 0.0]
    assert high.grad.flatten().tolist() == [0.0, 0.0, 0.0, 0.5, 1.0]


class Around(nn.Module):
    """A branch around the layer that would be searched."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(64, 8), nn.Linear(8, 8), nn.Linear(64, 8)
        self.d = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return self.d(torch.relu(self.b(torch.relu(self.a(x))) + self.c(x)))


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (
            lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10)),
            "the network has 1 rectif",
        ),
        (Around, "takes other values too"),
    ],
)
def test_a_network_without_such_a_layer_is_refused_before_training(module, words):
    with pytest.raises(InputError, match=words):
        train(module(), "digits,first=200", objective=TAPS(ball=BALL), recipe=Recipe(epochs=1, batch_size=50))


@pytest.mark.parametrize(
    ("options", "words"),
    [({"latent": -1}, "latent is -1"), ({"threshold": 0.7}, "threshold is 0.7"), ({"scale": 0.0}, "scale")],
)
def test_bad_options_are_explained(options, words):
    with pytest.raises(InputError, match=words):
        TAPS(ball=BALL, **options)
