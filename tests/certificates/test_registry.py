"""The registry: the field's names, and a bound that is added by one entry."""

import json
from typing import get_args

import pytest
import torch
from torch import nn

import epsball as eb
from epsball.certificates import ALIASES, AUTO, METHODS, MethodName
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
