"""The transpose of a convolution in training is that of the certificates, and so are its derivatives."""

import pytest
import torch
from torch.nn import functional

from epsball.certificates.affine.layers import convolution_transpose
from epsball.graph.kinds import Convolution

CASES = {
    "strided": ((6, 5, 4, 4), (5, 7, 9), {"stride": (2, 2), "padding": (1, 1)}),
    "thin": ((6, 1, 3, 4), (1, 9, 8), {"stride": (2, 3), "padding": (1, 0)}),
    "dilated": ((3, 2, 3, 3), (2, 9, 9), {"dilation": (2, 2), "padding": (2, 2)}),
    "groups": ((4, 1, 3, 3), (2, 6, 6), {"groups": 2}),
    "one axis": ((3, 2, 3), (2, 10), {"stride": (2,), "padding": (1,)}),
}


@pytest.mark.parametrize("case", CASES)
def test_values_and_derivatives(case):
    sizes, shape, options = CASES[case]
    axes = len(shape) - 1
    defaults = {"stride": (1,) * axes, "padding": (0,) * axes, "dilation": (1,) * axes, "groups": 1}
    kind = Convolution(weight="w", bias=None, **{**defaults, **options})
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(sizes, generator=generator, dtype=torch.float64)
    convolve = functional.conv1d if axes == 1 else functional.conv2d
    x = torch.randn(2, *shape, generator=generator, dtype=torch.float64, requires_grad=True)
    given = {name: getattr(kind, name) for name in ("stride", "padding", "dilation", "groups")}
    y = convolve(x, weight, None, **given)
    rows = torch.randn(y.shape, generator=generator, dtype=torch.float64)
    (expected,) = torch.autograd.grad(y, x, rows)
    weight.requires_grad_()
    torch.testing.assert_close(convolution_transpose(rows, weight, kind, shape), expected)
    assert torch.autograd.gradcheck(
        lambda rows, weight: convolution_transpose(rows, weight, kind, shape), (rows.requires_grad_(), weight)
    )
