"""Thermometer codes against their definition."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from epsball.masking.zoo.published.thermometer import Thermometer


@given(levels=st.integers(1, 20), value=st.floats(0, 1, width=32))
def test_a_code_counts_the_levels_below_the_pixel(levels, value):
    x = torch.full((1, 1, 1, 1), value)
    code = Thermometer(levels)(x).flatten().tolist()
    assert code == [float(value > torch.tensor(k / levels)) for k in range(1, levels + 1)]
    assert code == sorted(code, reverse=True)


def test_the_example_of_the_paper():
    code = Thermometer(10)(torch.tensor([[[[0.66]]]])).flatten()
    assert "".join(str(int(bit)) for bit in code) == "1111110000"


def test_channels_keep_their_codes_together():
    x = torch.rand(2, 3, 4, 5)
    codes = Thermometer(8)(x)
    assert codes.shape == (2, 24, 4, 5)
    for channel in range(3):
        assert torch.equal(codes[:, 8 * channel : 8 * channel + 8], Thermometer(8)(x[:, channel : channel + 1]))


def test_the_smooth_encoder_has_the_code_as_its_rounding_and_a_gradient_everywhere():
    encoder, x = Thermometer(8), torch.rand(2, 3, 4, 5).requires_grad_()
    smooth = encoder.smooth(x)
    assert torch.equal((smooth > 0.5).float(), encoder(x))
    smooth.sum().backward()
    assert bool((x.grad > 0).all())
