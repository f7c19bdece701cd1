"""The cascade under a limit: branch and bound comes last, and methods that are not worth their passes are left out."""

import pytest
import torch
from torch import nn

import epsball as eb
from epsball.certificates import Domain, Problem, yields
from epsball.graph import capture

BALL = eb.Ball("linf", "1/10")


def subject(last: nn.Module | None = None):
    torch.manual_seed(3)
    layers = [nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)]
    classifier = eb.Classifier(nn.Sequential(*layers, *([] if last is None else [last])))
    x = torch.rand(10, 1, 4, 4)
    return classifier, x, classifier.logits(x).argmax(dim=1)


@pytest.mark.parametrize("limit", [{"budget": 20_000}, {"cpu_seconds": 20.0}])
def test_a_limit_adds_branch_and_bound_to_the_cascade(limit):
    classifier, x, y = subject()
    plain, limited = eb.certify(classifier, x, y, BALL), eb.certify(classifier, x, y, BALL, **limit)
    assert "complete" not in plain.margins
    assert list(limited.margins)[-1] == "complete"
    assert int(limited.stable.sum()) > int(plain.stable.sum())
    assert bool((limited.stable >= plain.stable).all())
    assert set(limited.endings.values()) <= {"witness"}
    assert all(bool(limited.stable[row]) or row in limited.met for row in range(len(x)))


def test_smooth_networks_are_searched_too():
    classifier, x, y = subject(nn.Sigmoid())
    plain, limited = eb.certify(classifier, x, y, BALL), eb.certify(classifier, x, y, BALL, budget=10**6)
    assert int(limited.stable.sum()) > int(plain.stable.sum())
    assert bool((limited.stable >= plain.stable).all())


def test_what_is_lacking_is_a_share_of_the_way_from_the_margin_at_x():
    graph = capture(nn.Linear(2, 2, bias=False).requires_grad_(False), (2,))
    domain = Domain.of(BALL, torch.tensor([[0.2, 0.9], [0.2, 0.9], [0.2, 0.9]]))
    problem = Problem.of(graph, domain, graph(domain.centre.float()).argmax(dim=1))
    margin = float((problem.specification[0] @ graph(domain.centre[:1].float()).double()[0]).min())
    found = yields.lacking(problem, torch.tensor([-margin, 0.5 * margin, -torch.inf], dtype=torch.float64))
    assert found.tolist() == pytest.approx([0.5, 0.0, 1.0], abs=1e-6)


def test_a_method_that_closes_less_per_pass_than_a_search_is_left_out(monkeypatch):
    monkeypatch.setattr(yields, "CLOSED", {"crown": ((8, 8), (0, 8), (0, 8), (0, 8)), "complete": ((8, 8),) * 4})
    monkeypatch.setattr(yields, "SEARCH", (100, 100, 100, 100))
    price, search = torch.tensor([50, 50]), torch.tensor([100, 100])
    assert yields.is_worth("crown", torch.tensor([0.1, 0.9]), price, search).tolist() == [True, False]
    assert yields.is_worth("another", torch.tensor([0.1, 0.9]), price, search).all()
    classifier, x, y = subject()
    monkeypatch.setattr(yields, "CLOSED", {"crown": ((0, 10**6),) * 4, "complete": ((8, 8),) * 4})
    found = eb.certify(classifier, x, y, BALL, budget=20_000)
    assert bool(found.margins["crown"].isnan().all())
    assert not bool(found.margins["optimised"].isnan().all())
