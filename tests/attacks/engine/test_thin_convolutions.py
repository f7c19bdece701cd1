import pytest
import torch
from torch import nn

from epsball.attacks.engine.thin_convolutions import ThinConvolutions


def gradient(net: nn.Module, x: torch.Tensor, *, thin: bool) -> tuple[torch.Tensor, torch.Tensor]:
    leaf = x.clone().requires_grad_()
    if thin:
        with ThinConvolutions():
            out = net(leaf)
    else:
        out = net(leaf)
    weights = torch.linspace(-1, 1, out[0].numel(), dtype=x.dtype).view(out.shape[1:])
    (found,) = torch.autograd.grad((out * weights).sum(), leaf)
    return out.detach(), found


@pytest.mark.parametrize("channels", [1, 3, 4, 5])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3},
        {"kernel_size": 4, "stride": 2, "padding": 1},
        {"kernel_size": (3, 2), "stride": (2, 3), "padding": (1, 0), "dilation": (1, 2), "bias": False},
        {"kernel_size": 5, "stride": 3, "padding": 2},
        {"kernel_size": 3, "padding": "same"},
        {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
        {"kernel_size": 1},
    ],
    ids=str,
)
def test_gradients_are_those_of_the_convolution(channels, options):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(channels, 6, **options), nn.Tanh()).double().requires_grad_(False)
    x = torch.randn(5, channels, 11, 9, dtype=torch.float64)
    (out, plain), (thin_out, thin) = gradient(net, x, thin=False), gradient(net, x, thin=True)
    assert torch.equal(out, thin_out)
    torch.testing.assert_close(thin, plain, rtol=1e-10, atol=1e-12)


def test_what_does_not_fit_runs_as_always():
    torch.manual_seed(0)
    x = torch.randn(3, 2, 8, 8)
    for net in (nn.Conv2d(2, 4, 3, groups=2), nn.Conv2d(2, 4, 3)):
        net.requires_grad_(net.groups == 1)
        (_, plain), (_, thin) = gradient(net, x, thin=False), gradient(net, x, thin=True)
        assert torch.equal(plain, thin)
