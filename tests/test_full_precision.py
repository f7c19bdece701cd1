"""Full precision inside the block, the caller's settings after it."""

import torch

from epsball.full_precision import full_precision


def test_switches_are_ieee_inside_and_restored_afterwards():
    switch = torch.backends.mkldnn.matmul
    before = switch.fp32_precision
    try:
        switch.fp32_precision = "bf16"
        with full_precision(torch.device("cpu")):
            assert switch.fp32_precision == "ieee"
        assert switch.fp32_precision == "bf16"
    finally:
        switch.fp32_precision = before
