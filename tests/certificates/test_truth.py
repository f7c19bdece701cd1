"""All that is claimed of random small networks against exact minima; `benchmarks/truth.py` checks 300."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from flint import fmpq

from certificates import truth
from certificates.enumeration import cells, domain, margin
from certificates.networks import least_margins
from certificates.small_networks import Dense, small_network
from certificates.soundness import ends
from certificates.truth import Case, check
from epsball.ball import Ball
from epsball.certificates import METHODS, Problem


@pytest.mark.parametrize("seed", [6, 17, 22])
def test_nothing_false_is_claimed_of_a_small_network(seed):
    compared = check(seed)
    assert min(compared.values()) > 0


@pytest.mark.slow
def test_nothing_false_is_claimed_of_small_networks_at_greater_number():
    for seed in range(30):
        check(seed)


def test_the_cells_are_those_of_polygons():
    """In the plane, polygons cut by another algorithm have the same minima."""
    torch.manual_seed(4)
    network = Dense((2, 5, 4, 3)).requires_grad_(False)
    x, ball = torch.rand(1, 2), Ball("linf", 2, None, None)
    case = Case.of(network, x, ball)
    weights = {f"{kind}{k}": value for k, part in enumerate(network.parts) for kind, value in _named(part)}
    least = least_margins(replace(case.graph, parameters=weights), *ends(x[0], ball), case.predicted)
    found = {row if row < case.predicted else row + 1: case.least(row) for row in range(2)}
    assert len(case.cells) > 5
    assert found == {other: fmpq(value.numerator, value.denominator) for other, value in least.items()}


def _named(part):
    return (("w", part.weight), ("b", part.bias))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_on_each_cell_the_network_is_the_cells_function(seed):
    network, ball = small_network(seed), Ball("linf", "1")
    x = torch.rand(1, *network.shape)
    for cell in cells(network, x, ball):
        middle = [float(Fraction(int(v.p), int(v.q))) for v in map(_mean, zip(*cell.polytope.vertices, strict=True))]
        logits = network.double()(torch.tensor(middle, dtype=torch.float64).view(1, *network.shape))[0]
        network.float()
        for row, value in zip(cell.logits, logits.tolist(), strict=True):
            there = sum(float(int(a.p) / int(a.q)) * b for a, b in zip(row, [*middle, 1.0], strict=True))
            assert there == pytest.approx(value, abs=1e-9)


def _mean(values):
    return sum(values, fmpq(0)) / len(values)


def test_a_ball_of_l1_has_its_corners():
    x = torch.full((1, 3), 0.5)
    corners = domain(x, Ball("l1", "1/4")).vertices
    assert len(corners) == 6
    assert all(sum(abs(value - fmpq(1, 2)) for value in corner) == fmpq(1, 4) for corner in corners)


@pytest.mark.parametrize("claimed", ["bound", "part"])
def test_a_false_claim_is_seen(claimed, monkeypatch):
    """What is claimed too high fails the check."""
    case = Case.random(10)
    minima = [case.least(row) for row in range(case.graph.classes - 1)]
    if claimed == "bound":
        method = METHODS["complete"]

        def raised(problem: Problem):
            found = method(problem)
            return replace(found, rows=found.rows + 10)

        monkeypatch.setitem(METHODS, "complete", replace(method, bound=raised))
        with pytest.raises(AssertionError, match=r"complete \(real\) claims"):
            truth.check_bounds(case, minima)
    else:
        proved = truth.Example.proved
        monkeypatch.setattr(truth.Example, "proved", lambda self, parts: proved(self, parts) + 1e-3)
        with pytest.raises(AssertionError, match="complete finds|has the minimum"):
            truth.check_parts(case, minima)


def test_margins_are_those_of_classes():
    case = Case.random(16)
    cell = case.cells[0]
    assert margin(cell, 0, 1) == tuple(a - b for a, b in zip(cell.logits[0], cell.logits[1], strict=True))
