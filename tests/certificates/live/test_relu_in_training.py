"""The lines around a ReLU that training differentiates are those of the certificates, and so are their gradients."""

import torch

from epsball.certificates.curves import rectifier_relaxation, relu_relaxation_in_training


def ends() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 400, generator=generator, dtype=torch.float64)
    return torch.minimum(a, b).requires_grad_(), torch.maximum(a, b).requires_grad_()


def test_lines_and_gradients_are_those_of_the_certificates():
    weights = torch.rand(4, 400, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = []
    for relax in (lambda low, high: rectifier_relaxation(low, high, 0.0), relu_relaxation_in_training):
        low, high = ends()
        lines = relax(low, high)
        sum((weight * part).sum() for weight, part in zip(weights, lines, strict=True)).backward()
        found.append([*(part.detach() for part in lines), low.grad, high.grad])
    for exact, fast in zip(*found, strict=True):
        torch.testing.assert_close(fast, exact, rtol=1e-12, atol=1e-12)


def test_ends_at_zero_are_sound_and_have_gradients():
    low = torch.tensor([0.0, -1.0, 0.0, -0.0], requires_grad=True)
    high = torch.tensor([0.0, 0.0, 1.0, 0.0], requires_grad=True)
    lines = relu_relaxation_in_training(low, high)
    for x in (low, high):
        assert (lines.lower_slope * x + lines.lower <= x.relu()).all()
        assert (lines.upper_slope * x + lines.upper >= x.relu()).all()
    (lines.upper_slope + lines.upper).sum().backward()
    assert low.grad is not None
    assert low.grad.isfinite().all()
