"""Networks made to break bounds that forget rounding; each has two inputs in [0, 1] and two classes."""

import torch

from certificates.networks import relu_net


def absorbed(scale: float):
    """Return z_0 - z_1 = relu(x_0 + scale) - scale + 0.5: float32 absorbs x_0 where scale is 2^25."""
    first = torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([scale, scale])
    last = torch.tensor([[1.0, -1.0], [0.0, 0.0]]), torch.tensor([0.0, -0.5])
    return relu_net([first, last])


def _big_m(m: float):
    """Return a gadget whose relu(x - 1/2 + M) - M is x - 1/2 in real numbers, behind a step of slope M."""
    first = torch.tensor([[1.0, 0.0], [m, 0.0]]), torch.tensor([m - 0.5, -m / 2])
    last = torch.tensor([[1.0, -1.0], [0.0, 0.0]]), torch.tensor([-m, -0.25])
    return relu_net([first, last])


def _summation(m: float):
    """Return a sum m + small - m + small, whose value depends on the order of summation."""
    first = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]), torch.tensor([m, 0.0, m, 0.0])
    last = torch.tensor([[1.0, 1.0, -1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]), torch.tensor([0.0, 0.75])
    return relu_net([first, last])


def _zombori(omega: float, sigma: float):
    """Return a network with a hidden switch: x - sigma (1 + omega - omega), after Zombori et al. 2021."""
    first = torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([0.0, 1.0])
    second = torch.tensor([[0.0, omega], [1.0, 0.0]]), torch.tensor([sigma, 0.0])
    third = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([-omega, 0.0])
    last = torch.tensor([[1.0, 1.0], [0.0, 0.0]]), torch.tensor([0.0, 0.4])
    return relu_net([first, second, third, last])


def _tiny(scale: float):
    """Return a network whose first products underflow in float32 and are scaled up again."""
    first = torch.tensor([[scale, 0.0], [0.0, scale]]), torch.tensor([0.0, 0.0])
    last = torch.tensor([[2.0**100, -(2.0**100)], [0.0, 0.0]]), torch.tensor([2.0**-40, 0.0])
    return relu_net([first, last])


TRAPS = {
    "absorbed_25": absorbed(2.0**25),
    "absorbed_30": absorbed(2.0**30),
    "absorbed_60": absorbed(2.0**60),
    "big_m_24": _big_m(2.0**24),
    "big_m_40": _big_m(2.0**40),
    "summation_26": _summation(2.0**26),
    "summation_55": _summation(2.0**55),
    "zombori_27": _zombori(2.0**27, -0.3),
    "zombori_54": _zombori(2.0**54, -0.3),
    "underflow_140": _tiny(2.0**-140),
    "underflow_126": _tiny(2.0**-126),
}
