"""The registry: the field's names, and a bound that is added by one entry."""

import json
from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import nn

import epsball as eb
from certificates.soundness import check_network
from epsball.certificates import ALIASES, AUTO, METHODS, Box, LowerBounds, Method, MethodName, Problem, interval
from epsball.cli import main


@pytest.fixture
def subject() -> tuple[eb.Classifier, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    classifier = eb.Classifier(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)))
    x = torch.rand(6, 4)
    return classifier, x, classifier.logits(x).argmax(1)


def test_the_listed_names_are_those_of_the_registry():
    assert set(get_args(MethodName)) == {AUTO, *METHODS, *ALIASES}


@pytest.mark.parametrize(("name", "stored"), ALIASES.items())
def test_the_fields_names_are_accepted_and_the_old_ones_stored(name, stored, subject):
    ball = eb.Ball("linf", "1/50")
    found, known = (eb.certify(*subject, ball, method=method) for method in (name, stored))
    assert torch.equal(found.margin, known.margin)
    assert list(found.margins) == [stored]
    assert set(found.method) <= {stored, None}
    audit = eb.audit(subject[0], subject[1:], ball, attack="pgd,steps=1", certificates=name, limit=False)
    assert set(audit.evidence["certificate.method"].to_pylist()) <= {stored, None}


def test_the_command_takes_the_fields_names(tmp_path, capsys):
    arguments = ["mlp", "digits,first=3", "--ball", "linf:0.001", "--method", "alpha-crown", "--out", str(tmp_path)]
    assert main(["certify", *arguments]) == 0
    assert list(json.loads((tmp_path / "certificates.json").read_text())["margins"]) == ["optimised"]


def split_interval(problem: Problem) -> LowerBounds:
    """Bound by intervals on the two halves of each box, cut across its widest side: the worse of the two."""
    low, high = problem.domain.box
    side = (high - low).flatten(1).argmax(dim=1, keepdim=True)
    middle = 0.5 * (low + high)
    cut = torch.zeros_like(low, dtype=torch.bool).flatten(1).scatter(1, side, True).view(low.shape)
    halves = Box(low, torch.where(cut, middle, high)), Box(torch.where(cut, middle, low), high)
    first, second = (interval(replace(problem, domain=replace(problem.domain, box=half))) for half in halves)
    boxes = {
        name: Box(torch.minimum(box.low, second.boxes[name].low), torch.maximum(box.high, second.boxes[name].high))
        for name, box in first.boxes.items()
    }
    return LowerBounds(rows=torch.minimum(first.rows, second.rows), boxes=boxes)


def test_a_bound_is_added_by_one_entry(subject, tmp_path, monkeypatch, as_users_run):
    monkeypatch.setitem(METHODS, "split-interval", Method(bound=split_interval, passes=lambda rows: 4))
    for seed in range(4):
        check_network(seed, {"split-interval": METHODS["split-interval"]})
    ball = eb.Ball("linf", "1/50")
    whole, found = (eb.certify(*subject, ball, method=name, folder=tmp_path) for name in ("interval", "split-interval"))
    assert bool((found.margin >= whole.margin).all())
    assert bool((found.margin > whole.margin).any())
    assert bool((found.passes == 4).all())
    assert not found.files
    assert "split-interval" in eb.certify(*subject, ball).margins
