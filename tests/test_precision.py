"""Full precision inside the block, the caller's settings after it."""

import pytest
import torch

from epsball.precision import full_precision


def test_switches_are_ieee_inside_and_come_back_after_an_exception():
    switch = torch.backends.mkldnn.matmul
    before = switch.fp32_precision
    try:
        switch.fp32_precision = "bf16"
        with pytest.raises(ValueError, match="inside"), full_precision(torch.device("cpu")):
            assert switch.fp32_precision == "ieee"
            raise ValueError("inside")
        assert switch.fp32_precision == "bf16"
    finally:
        switch.fp32_precision = before
