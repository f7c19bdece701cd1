"""PixelCNN's order, cached decoding, and PixelDefend's choice."""

import pytest
import torch

from epsball.masking.zoo.published.pixel_cnn import Decoder, PixelCNN
from epsball.masking.zoo.published.pixel_defend import PixelDefend


@pytest.fixture
def prior():
    torch.manual_seed(0)
    return PixelCNN(values=5, width=6, layers=2)


def test_a_pixel_depends_on_all_before_it_and_on_none_after(prior):
    torch.manual_seed(1)
    x = torch.rand(1, 1, 5, 6).double().requires_grad_()
    logits = prior.double()(x)
    for i in range(5):
        for j in range(6):
            (gradient,) = torch.autograd.grad(logits[0, :, i, j].square().sum(), x, retain_graph=True)
            seen = gradient[0, 0].flatten() != 0
            assert not bool(seen[6 * i + j :].any())
    assert bool(seen[-1 - 6 : -1].any())


def test_decoding_pixel_by_pixel_has_the_logits_of_the_whole_image(prior):
    x = torch.rand(3, 1, 5, 6)
    decoder = Decoder(prior, 3, 5, 6)
    whole = prior(x)
    for i in range(5):
        for j in range(6):
            torch.testing.assert_close(decoder.logits(i, j), whole[:, :, i, j], atol=1e-5, rtol=1e-5)
            decoder.set(i, j, x[:, 0, i, j])


def test_each_pixel_is_the_likeliest_allowed_value_given_those_before(prior):
    x = torch.rand(4, 1, 5, 6)
    purify = PixelDefend(prior, radius=0.3)
    purified = purify(x)
    assert bool(((purified - x).abs() <= 0.3 + 1e-5).all())
    logits = prior(purified)
    grid = torch.linspace(0, 1, 5)
    allowed = (grid[None, :, None, None] - x).abs() <= 0.3 + 1e-6
    best = logits.masked_fill(~allowed, -torch.inf).argmax(1)
    assert torch.equal(grid[best], purified[:, 0])


def test_the_likelihood_of_all_images_is_one():
    torch.manual_seed(0)
    prior = PixelCNN(values=2, width=4, layers=1).double()
    images = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 6).view(-1, 1, 2, 3)
    torch.testing.assert_close(prior.log_likelihood(images).exp().sum(), torch.ones((), dtype=torch.float64))


def test_purified_digits_are_likelier(networks, digits):
    prior = networks["prior"]
    x = digits[0]
    noisy = (x + 0.15 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).sign()).clamp(0, 1)
    rounded = (16 * noisy).round() / 16
    with torch.no_grad():
        assert bool((prior.log_likelihood(PixelDefend(prior)(noisy)) > prior.log_likelihood(rounded)).all())
