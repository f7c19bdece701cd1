"""`Domain.of_box`: boxes beside balls, rounded outward."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from epsball.certificates import REAL, Domain, propagate
from epsball.certificates.linear import refiner
from epsball.certificates.linear.sweep import final_lines
from epsball.errors import InputError
from epsball.graph import capture

ENDS = st.fractions(-1000, 1000, max_denominator=10**9)


@given(st.lists(st.tuples(ENDS, ENDS), min_size=1, max_size=4))
def test_exact_ends_are_rounded_outward_to_neighbouring_floats(pairs):
    lower, upper = [min(pair) for pair in pairs], [max(pair) for pair in pairs]
    box = Domain.of_box([lower], [upper]).box
    for low, high, exact_low, exact_high in zip(*(end[0].tolist() for end in box), lower, upper, strict=True):
        assert Fraction(low) <= exact_low < Fraction(math.nextafter(low, math.inf))
        assert Fraction(math.nextafter(high, -math.inf)) < exact_high <= Fraction(high)


def test_floats_are_taken_as_they_are():
    low, high = torch.rand(2, 3, 4), 1 + torch.rand(2, 3, 4)
    domain = Domain.of_box(low, high)
    assert torch.equal(domain.box.low, low.double())
    assert torch.equal(domain.box.high, high.double())
    assert len(domain) == 2


@pytest.mark.parametrize(
    ("lower", "upper", "message"),
    [
        ([[1]], [[0]], "lies above its upper end"),
        ([[0, 0]], [[1]], r"lower ends are \(1, 2\)"),
        ([[0.5]], [[1]], "ends are exact numbers"),
        (torch.tensor([[-torch.inf]]), torch.tensor([[1.0]]), "not finite"),
        (torch.tensor([[torch.nan]]), torch.tensor([[1.0]]), "not finite"),
    ],
)
def test_boxes_that_are_none_are_refused(lower, upper, message):
    with pytest.raises(InputError, match=message):
        Domain.of_box(lower, upper)


@pytest.mark.parametrize("seed", range(3))
def test_lines_lie_below_the_rows_at_every_point(seed):
    """v(x) >= L + A . x - least A . x over the box, for the L and A of `final_lines`."""
    torch.manual_seed(seed)
    net = torch.nn.Sequential(torch.nn.Linear(3, 12), torch.nn.ReLU(), torch.nn.Linear(12, 8), torch.nn.ReLU())
    graph = capture(net.append(torch.nn.Linear(8, 2)).requires_grad_(False), (3,))
    low = torch.rand(5, 3).double() - 1
    high = low + torch.rand(5, 3).double()
    rows = torch.randn(5, 4, 2, dtype=torch.float64)
    bounds = propagate(graph, Domain.of_box(low, high), REAL, refine=refiner())
    least, lines = final_lines(bounds, rows)
    x = low + torch.rand(2000, 5, 3, dtype=torch.float64) * (high - low)
    values = (rows @ graph(x.flatten(0, 1), bounds.parameters).view(2000, 5, 2, 1))[..., 0]
    over_box = torch.where(lines > 0, lines * low.unsqueeze(1), lines * high.unsqueeze(1)).sum(dim=2)
    assert (values >= least + (lines * x.unsqueeze(2)).sum(dim=3) - over_box - 1e-12).all()
