"""Rows through a ReLU in one operation: the lines of the certificates, and their gradients."""

import pytest
import torch

from epsball.certificates.curves import relu_relaxation_in_training
from epsball.certificates.linear.rectified_rows import rectified_rows
from epsball.certificates.rules.pointwise import carried


def given(rows: int, shape: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 3, *shape, generator=generator, dtype=torch.float64)
    coefficients = torch.randn(3, rows, *shape, generator=generator, dtype=torch.float64)
    return [t.requires_grad_() for t in (coefficients, torch.minimum(a, b), torch.maximum(a, b))]


@pytest.mark.parametrize(("rows", "shape"), [(1, (7,)), (4, (2, 3, 2))])
def test_values_and_gradients_are_those_of_the_lines(rows, shape):
    found = []
    for through in (rectified_rows, lambda a, low, high: carried(relu_relaxation_in_training(low, high).for_rows(), a)):
        inputs = given(rows, shape)
        values, constant = through(*inputs)
        weights = torch.rand(values.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        ((values * weights).sum() + (constant * torch.arange(1.0, rows + 1)).sum()).backward()
        found.append([values.detach(), constant.detach(), *(t.grad for t in inputs)])
    for one, many in zip(*found, strict=True):
        torch.testing.assert_close(one, many, rtol=1e-12, atol=1e-12)


def test_the_derivative_is_that_of_the_function():
    assert torch.autograd.gradcheck(rectified_rows, given(2, (5,)))


def test_rows_that_lie_with_channels_last_are_the_same():
    rows, low, high = (t.detach() for t in given(1, (2, 3, 2)))
    last = rows.movedim(2, -1).contiguous().movedim(-1, 2)
    for one, other in zip(rectified_rows(rows, low, high), rectified_rows(last, low, high), strict=True):
        torch.testing.assert_close(one, other)


def test_ends_at_zero_have_gradients():
    low = torch.tensor([[0.0, -1.0, 0.0, -0.0]], requires_grad=True)
    high = torch.tensor([[0.0, 0.0, 1.0, 0.0]], requires_grad=True)
    values, constant = rectified_rows(torch.full((1, 1, 4), -3.0), low, high)
    (1e3 * values.sum() + constant.sum()).backward()
    assert low.grad is not None
    assert high.grad is not None
    assert low.grad.isfinite().all()
    assert high.grad.isfinite().all()
