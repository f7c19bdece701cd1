"""Orthogonal layers: norms are kept, and training reaches every layer."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from epsball.models.lipschitz_layers import GroupSort, Orthonormal, orthogonal


@pytest.mark.parametrize(("rows", "columns"), [(3, 7), (7, 3), (4, 4)])
def test_an_orthonormal_weight_preserves_its_smaller_side(rows, columns):
    weight = Orthonormal()(torch.randn(rows, columns, dtype=torch.float64))
    product = weight @ weight.T if rows <= columns else weight.T @ weight
    assert torch.allclose(product, torch.eye(min(rows, columns), dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize(("channels", "out"), [(4, 6), (6, 6), (1, 4)])
@pytest.mark.parametrize("size", [1, 3])
def test_a_convolution_on_a_circle_of_places_preserves_the_norm(channels, out, size):
    torch.manual_seed(0)
    layer = orthogonal(nn.Conv2d(channels, out, size, padding=size // 2, bias=False)).double()
    x = torch.randn(5, channels, 6, 7, dtype=torch.float64)
    around = functional.pad(x, (size // 2,) * 4, mode="circular")
    value = functional.conv2d(around, layer.weight)
    assert torch.allclose(value.flatten(1).norm(dim=1), x.flatten(1).norm(dim=1), rtol=1e-10)
    assert (layer(x).flatten(1).norm(dim=1) <= x.flatten(1).norm(dim=1) * (1 + 1e-10)).all()


def test_fewer_outputs_than_inputs_are_the_transposed_of_more():
    torch.manual_seed(0)
    layer = orthogonal(nn.Conv2d(6, 4, 3, bias=False)).double()
    y = torch.randn(5, 4, 6, 6, dtype=torch.float64)
    value = functional.conv_transpose2d(y, layer.weight)
    assert torch.allclose(value.flatten(1).norm(dim=1), y.flatten(1).norm(dim=1), rtol=1e-10)


def test_gradients_reach_every_matrix_of_a_kernel():
    torch.manual_seed(0)
    layer = orthogonal(nn.Conv1d(4, 6, 3, padding=1))
    layer(torch.randn(2, 4, 9)).square().sum().backward()
    (matrices,) = (parameter for name, parameter in layer.named_parameters() if "weight" in name)
    assert (matrices.grad.flatten(1).norm(dim=1) > 0).all()


def test_sorting_pairs_keeps_the_norm_and_the_entries():
    x = torch.randn(3, 6, 2)
    value = GroupSort()(x)
    assert torch.equal(value.flatten(1).sort(dim=1).values, x.flatten(1).sort(dim=1).values)
    assert (value[:, :3] >= value[:, 3:]).all()
