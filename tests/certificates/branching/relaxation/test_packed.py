"""Tests of compiled sweeps: they are those of `Dual` with whole matrices."""

import pytest
import torch
from torch import Tensor

from epsball.certificates.branching.relaxation.dual import Dual
from epsball.certificates.branching.relaxation.matrices import Matrix
from epsball.certificates.branching.relaxation.packed import Packed
from epsball.certificates.branching.relaxation.reduced import Functions, Layer
from epsball.certificates.branching.relaxation.region import Region
from epsball.certificates.branching.relaxation.subproblems import Envelope, Parts, Schedule

WIDTHS, INPUTS, ROWS, PARTS = (30, 20, 7), 12, 5, 70


def sparse(height: int, width: int) -> Tensor:
    return torch.randn(height, width, dtype=torch.float64) * (torch.rand(height, width) < 0.2)


def random_dual(norm: str, *, enveloped: bool) -> Dual:
    layers = []
    for k, width in enumerate(WIDTHS):
        over = tuple(sparse(width, before) for before in WIDTHS[:k])
        functions = Functions(sparse(width, INPUTS), over, torch.randn(width, dtype=torch.float64))
        nothing, one = torch.zeros(width, dtype=torch.float64), torch.ones(width, dtype=torch.float64)
        low, high = (torch.rand(width, dtype=torch.float64) + 0.01 for _ in range(2))
        places = torch.arange(width)
        layers.append(
            Layer(node=str(k), places=places, kinks=nothing, weights=one, low=-low, high=high, functions=functions)
        )
    over = tuple(sparse(ROWS, width) for width in WIDTHS)
    functions = Functions(sparse(ROWS, INPUTS), over, torch.randn(ROWS, dtype=torch.float64))
    centre = torch.rand(INPUTS)
    dual = Dual(layers, functions, Region(centre - 0.1, centre + 0.1, centre, norm, 0.3), torch.float32)
    if enveloped:
        above = [Envelope(Matrix(sparse(width, INPUTS).float()), torch.rand(width)) for width in WIDTHS]
        dual.envelopes = [above[0], None, above[2]]
    return dual


def random_parts(units: int) -> Parts:
    states = ((torch.rand(PARTS, units) < 0.2) * torch.tensor([-2, -1, 1, 2])[torch.randint(4, (PARTS, units))]).char()
    multipliers = torch.rand(PARTS, units) * (states.abs() == 1)
    return Parts(torch.randint(ROWS, (PARTS,)), states, torch.rand(PARTS, units), multipliers)


@pytest.mark.slow
@pytest.mark.parametrize("enveloped", [False, True])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_compiled_sweeps_are_those_of_whole_matrices(norm: str, enveloped: bool) -> None:
    torch.manual_seed(5)
    dual = random_dual(norm, enveloped=enveloped)
    lines = dual.chord, dual.intercept
    packed = Packed(dual.layers, dual.envelopes, dual.functions, dual.region, *lines)
    parts = random_parts(dual.units)
    torch.testing.assert_close(packed.bounds(parts), dual.bound(parts).value, rtol=1e-4, atol=1e-4)
    for unit in (None, torch.rand(PARTS, dual.units)):
        # Few steps: where a gradient is nearly 0, Adam makes a step of its rounding.
        schedule = Schedule(3, 0.1, 0.1)
        best, bound = dual.ascend(parts, schedule, unit)
        ours, ours_bound = packed.ascended(parts, schedule, unit, (0.9, 0.99))
        torch.testing.assert_close(ours_bound.value, bound.value, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours_bound.coefficients, bound.coefficients, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(ours.slopes, best.slopes, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(ours.multipliers, best.multipliers, rtol=1e-3, atol=1e-3)
