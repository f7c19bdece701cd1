"""Adam's step against torch's."""

import torch

from epsball.attacks.parts.step_size import adam


def test_steps_are_those_of_torch_each_example_at_its_own_number():
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(6, 3, 4, generator=generator, dtype=torch.float64)
    parameter = torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)
    reference = torch.optim.Adam([parameter], lr=0.1)
    points, mean, square = (torch.zeros(3, 4, dtype=torch.float64) for _ in range(3))
    for k, gradient in enumerate(gradients, start=1):
        parameter.grad = gradient.clone()
        reference.step()
        each = torch.full((3, 1), float(k), dtype=torch.float64)
        one_number = adam(gradient, mean, square, k)
        mean, square, direction, metric = adam(gradient, mean, square, each)
        points = points - 0.1 * direction / metric
        torch.testing.assert_close(one_number[2], direction)
        torch.testing.assert_close(points, parameter.detach(), rtol=1e-7, atol=1e-9)
