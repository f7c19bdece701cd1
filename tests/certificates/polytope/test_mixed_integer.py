"""Programs against the truth: exact enumeration of activation patterns of random small networks."""

from fractions import Fraction
from functools import partial

import pytest
import torch

from certificates.networks import least_margins, random_relu_net
from certificates.slopes.test_intermediate import problem_of
from certificates.soundness import ends
from epsball.ball import Ball
from epsball.certificates import REAL, by_class, lp, lp_tight, milp, sdp
from epsball.errors import UnsupportedOperation

NETWORKS = 300


def check(seed: int) -> None:
    """Compare the programs of a random network with the least margins over its regions of linearity."""
    graph = random_relu_net(seed, hidden=((3, 3), (6,), (4, 3), (3, 3, 3))[seed % 4], classes=2 + seed % 2)
    x, ball = torch.rand(1, 2, generator=torch.Generator().manual_seed(seed)), Ball("linf", Fraction(1, 2 + seed % 5))
    given_ = problem_of(graph, x, ball, arithmetic=REAL)
    label = graph(x).argmax(dim=1)
    truth = least_margins(graph, *ends(x[0], ball), int(label))
    [exact] = milp(given_)
    value, bound = (by_class(part[None], label)[0] for part in (exact.value, exact.bound))
    claims = [by_class(method(given_).rows, label)[0] for method in (lp, lp_tight, partial(sdp, steps=40))]
    for j, least in truth.items():
        assert value[j].item() == pytest.approx(float(least), abs=1e-5)
        assert bound[j].item() == pytest.approx(float(least), abs=1e-5)
        assert all(rows[j].item() <= least for rows in claims)


@pytest.mark.parametrize("seed", range(12))
def test_the_oracle_finds_the_truth_and_no_program_exceeds_it(seed):
    check(seed)


@pytest.mark.slow
def test_the_oracle_finds_the_truth_and_no_program_exceeds_it_at_full_size():
    for seed in range(12, NETWORKS):
        check(seed)


@pytest.mark.parametrize("seed", range(4))
def test_where_every_neuron_is_fixed_the_linear_program_is_exact(seed):
    graph, ball = random_relu_net(seed, hidden=(4, 3)), Ball("linf", Fraction(1, 10**5))
    x = torch.rand(1, 2, generator=torch.Generator().manual_seed(seed))
    given_ = problem_of(graph, x, ball, arithmetic=REAL)
    truth = least_margins(graph, *ends(x[0], ball), int(graph(x).argmax()))
    assert lp(given_).rows.item() == pytest.approx(float(next(iter(truth.values()))), abs=1e-6)


def test_other_balls_are_refused_by_name():
    x = torch.rand(1, 2)
    with pytest.raises(UnsupportedOperation, match="covers linf balls"):
        milp(problem_of(random_relu_net(0), x, Ball("l2", "1/10"), arithmetic=REAL))
