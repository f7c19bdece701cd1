"""Expansion, linearity, curvature and agreement against closed forms."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import epsball as eb
from epsball.masking.geometry import Surface, curvature, expansion, gradient_agreement, local_linearity
from epsball.masking.geometry.surface import cross_entropy
from epsball.randomness import Keys
from masking.geometry.surfaces import DIMENSIONS, SoftplusNet, centres, quadratic, surface_of, symmetric

BALLS = ("linf:1/8", "l2:1/4", "l1:1/4")


def keys_of(x):
    return Keys.of_examples(x, torch.zeros(len(x), dtype=torch.int64), 0)


@pytest.mark.parametrize("text", BALLS)
def test_a_linear_function_is_its_tangent(text):
    x, ball = centres(), eb.Ball.parse(text)
    slope = torch.arange(1.0, DIMENSIONS + 1, dtype=torch.float64)
    classifier, surface = surface_of(lambda z: z @ slope, x)
    points = ball.sample(x, keys_of(x).derive("here"))
    with classifier.in_use():
        terms = expansion(surface, points)
        linearity = local_linearity(surface, ball, keys_of(x), given=points)
        bend = curvature(surface, ball, keys_of(x))
        agreement = gradient_agreement(surface, ball, keys_of(x))
    torch.testing.assert_close(terms.change, (points - x) @ slope)
    torch.testing.assert_close(terms.first, terms.change)
    assert terms.second.abs().max() < 1e-12
    assert linearity.gamma.max() < 1e-12
    torch.testing.assert_close(linearity.first, float(ball.radius) * ball.dual_norm(slope.expand_as(x)))
    assert bend.value.abs().max() < 1e-12
    torch.testing.assert_close(agreement.cosine, torch.ones(len(x), dtype=torch.float64))
    assert agreement.signs.eq(1).all()


@pytest.mark.parametrize("text", BALLS)
@pytest.mark.parametrize("share", [1.0, 0.01])
def test_two_terms_are_all_of_a_quadratic(text, share):
    x, ball = centres(), eb.Ball.parse(text)
    matrix, _ = symmetric([5.0, -3.0, *([0.5] * (DIMENSIONS - 2))])
    slope = torch.linspace(-1, 1, DIMENSIONS, dtype=torch.float64)
    classifier, surface = surface_of(quadratic(matrix, slope), x)
    points = ball.sample(x, keys_of(x))
    d = points - x
    with classifier.in_use():
        terms = expansion(surface, points, share)
    torch.testing.assert_close(terms.first, ((x @ matrix + slope) * d).sum(1))
    torch.testing.assert_close(terms.second, ((d @ matrix) * d).sum(1) / 2)
    torch.testing.assert_close(terms.remainder, torch.zeros_like(terms.remainder), atol=1e-12, rtol=0)


@pytest.mark.parametrize("top", [6.0, -6.0])
@pytest.mark.parametrize("text", BALLS)
def test_power_iteration_finds_the_eigenvalue_of_largest_size(text, top):
    x, ball = centres(low=0.45, high=0.55), eb.Ball.parse(text)
    matrix, vectors = symmetric([1.0, 2.0, -1.5, top, *([0.3] * (DIMENSIONS - 4))])
    classifier, surface = surface_of(quadratic(matrix, torch.zeros(DIMENSIONS, dtype=torch.float64)), x)
    with classifier.in_use():
        found = curvature(surface, ball, keys_of(x), steps=20)
    torch.testing.assert_close(found.value, torch.full_like(found.value, top), rtol=1e-6, atol=0)
    torch.testing.assert_close((found.direction @ vectors[:, 3]).abs(), torch.ones(len(x), dtype=torch.float64))
    torch.testing.assert_close(found.effect, top * found.half_length**2 / 2, rtol=1e-6, atol=0)


@pytest.mark.parametrize("text", BALLS)
def test_curvature_at_the_walls_of_the_box_is_one_of_the_quadratic(text):
    x, ball = centres(low=0.0, high=1.0).round(), eb.Ball.parse(text)
    matrix, _ = symmetric([4.0, -2.0, *([0.5] * (DIMENSIONS - 2))])
    classifier, surface = surface_of(quadratic(matrix, torch.zeros(DIMENSIONS, dtype=torch.float64)), x)
    with classifier.in_use():
        found = curvature(surface, ball, keys_of(x), steps=20)
    s = found.direction
    torch.testing.assert_close(found.value, ((s @ matrix) * s).sum(1))
    assert found.value.abs().min() > 0.5
    assert found.value.abs().max() <= 4.0 + 1e-9


def test_gamma_of_a_quadratic_is_half_its_largest_eigenvalue_times_the_squared_radius_in_l2():
    x, ball = centres(), eb.Ball.parse("l2:1/4")
    matrix, _ = symmetric([1.0, -4.0, *([0.5] * (DIMENSIONS - 2))])
    classifier, surface = surface_of(quadratic(matrix, torch.ones(DIMENSIONS, dtype=torch.float64)), x)
    with classifier.in_use():
        found = local_linearity(surface, ball, keys_of(x), steps=100, restarts=4)
    torch.testing.assert_close(found.gamma, torch.full_like(found.gamma, 4 / 2 / 16), rtol=1e-2, atol=0)
    assert ball.contains(found.point, x).all()


def test_gamma_of_a_square_of_a_linear_function_in_linf():
    x, ball = centres(), eb.Ball.parse("linf:1/8")
    a = torch.linspace(-2, 1, DIMENSIONS, dtype=torch.float64)
    classifier, surface = surface_of(lambda z: (z @ a).square() / 2, x)
    with classifier.in_use():
        found = local_linearity(surface, ball, keys_of(x))
    expected = (float(ball.radius) * a.abs().sum()) ** 2 / 2
    torch.testing.assert_close(found.gamma, expected.expand_as(found.gamma))


def test_gamma_is_at_least_that_of_the_given_points():
    x, ball = centres(), eb.Ball.parse("linf:1/8")
    needle = x + 0.1
    classifier, surface = surface_of(lambda z: (-(z - 0.1 - x[0]).square().sum(1) * 1e4).exp(), x[:1])
    with classifier.in_use():
        assert local_linearity(surface, ball, keys_of(x[:1])).gamma < 0.5
        found = local_linearity(surface, ball, keys_of(x[:1]), given=needle[:1])
    torch.testing.assert_close(found.gamma, torch.ones(1, dtype=torch.float64))
    assert found.relative.isinf().all() or found.relative.max() > 1e3


def test_a_softplus_network_has_its_known_hessian():
    x, net = centres(), SoftplusNet()
    classifier = eb.Classifier(net)
    y = torch.zeros(len(x), dtype=torch.int64)
    surface = Surface.of(classifier, x, y, "margin")
    ball = eb.Ball.parse("l2:1/1000")
    points = ball.sample(x, keys_of(x))
    d = points - x
    with classifier.in_use():
        terms = expansion(surface, points)
        bend = curvature(surface, ball, keys_of(x), steps=60)
        _, gradients = surface.gradients(x)
    hessian = net.hessian(x).detach()
    largest = torch.linalg.eigvalsh(hessian)
    expected = torch.where(largest[:, -1] > -largest[:, 0], largest[:, -1], largest[:, 0])
    torch.testing.assert_close(gradients, net.gradient(x).detach())
    torch.testing.assert_close(terms.second, torch.einsum("ni,nij,nj->n", d, hessian, d) / 2, rtol=1e-2, atol=1e-9)
    torch.testing.assert_close(bend.value, expected, rtol=1e-2, atol=0)


def test_second_order_shrinks_the_error_of_a_smooth_network_at_the_radius():
    x = centres()
    classifier = eb.Classifier(SoftplusNet())
    surface = Surface.of(classifier, x, torch.zeros(len(x), dtype=torch.int64), "margin")
    with classifier.in_use():
        terms = expansion(surface, x + 0.1)
    assert (terms.remainder.abs() < (terms.change - terms.first).abs()).all()


def test_gradients_of_a_ridge_agree_and_those_of_a_fast_wave_do_not():
    x, ball = centres(count=8), eb.Ball.parse("linf:1/8")
    a = torch.linspace(-2, 1, DIMENSIONS, dtype=torch.float64)
    ridge, ridged = surface_of(lambda z: (z @ a).exp(), x)
    wave, waving = surface_of(lambda z: (200 * z).sin().sum(1), x)
    with ridge.in_use(), wave.in_use():
        agreeing = gradient_agreement(ridged, ball, keys_of(x))
        unrelated = gradient_agreement(waving, ball, keys_of(x))
    assert (agreeing.cosine - 1).abs().max() < 1e-12
    assert unrelated.cosine.mean().abs() < 0.2
    assert abs(float(unrelated.signs.mean()) - 0.5) < 0.1


def test_cosines_of_tiny_gradients_do_not_underflow_and_those_of_zero_ones_are_unknown():
    x, ball = centres(), eb.Ball.parse("linf:1/8")
    tiny, surface = surface_of(lambda z: 1e-200 * z.sum(1), x)
    flat, plateau = surface_of(lambda z: 0.0 * z.sum(1), x)
    with tiny.in_use(), flat.in_use():
        assert (gradient_agreement(surface, ball, keys_of(x)).cosine - 1).abs().max() < 1e-12
        found = gradient_agreement(plateau, ball, keys_of(x))
    assert found.cosine.isnan().all()
    assert found.signs.isnan().all()


def test_examples_do_not_depend_on_their_company():
    x, ball = centres(count=5), eb.Ball.parse("l2:1/4")
    classifier = eb.Classifier(SoftplusNet())
    y = torch.zeros(len(x), dtype=torch.int64)
    with classifier.in_use():
        whole = curvature(Surface.of(classifier, x, y, "margin"), ball, keys_of(x))
        alone = curvature(Surface.of(classifier, x[2:3], y[2:3], "margin"), ball, keys_of(x)[2:3])
    torch.testing.assert_close(whole.value[2:3], alone.value)


def test_cross_entropy_and_its_gradient_are_torchs():
    logits = torch.tensor([[1.0, 2.0, -0.5], [3.0, 3.0, 3.0], [0.5, -torch.inf, 0.1]], requires_grad=True)
    y = torch.tensor([0, 2, 2])
    mine, its = cross_entropy(logits, y), functional.cross_entropy(logits.double(), y, reduction="none")
    torch.testing.assert_close(mine, its)
    gradients = [torch.autograd.grad(value.sum(), logits)[0] for value in (mine, its)]
    torch.testing.assert_close(gradients[0], gradients[1])


def test_cross_entropy_of_saturated_logits_is_not_rounded_to_zero():
    classifier = eb.Classifier(nn.Identity(), low=None, high=None)
    x = torch.tensor([[60.0, 0.0]])
    surface = Surface.of(classifier, x, torch.tensor([0]), "cross-entropy")
    with classifier.in_use():
        assert math.isclose(float(surface.values(x)), math.exp(-60), rel_tol=1e-6)
