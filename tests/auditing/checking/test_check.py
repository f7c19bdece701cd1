"""Checking: what is understood is said, each guard has a finding also where another fails, costs follow the classes."""

import json

import pytest
import torch

import epsball as eb
from epsball.attacks import Ensemble
from epsball.cli import main
from helpers import Wrapped, examples, linear, mlp


def data(n=24):
    x, _ = examples(n)
    return x, mlp()(x).argmax(1)


def states(found):
    return {guard.name: guard.state for guard in found.guards}


def test_what_an_audit_would_run_on_is_understood():
    found = eb.check(eb.Classifier(mlp()), data(), eb.Ball("linf", "0.05"))
    assert found.passed
    assert found.exit_code == 0
    assert set(states(found).values()) == {"holds"}
    assert found.natural.value == 1.0
    assert found.first == 24
    auto = [method.name for method in found.certificates if method.automatic and method.runs == "runs"]
    assert auto == ["interval", "crown-ibp", "crown", "optimised"]
    assert [cost.name for cost in found.efforts] == ["quick", "standard", "full"]
    assert len(str(found).splitlines()) <= 40
    assert json.loads(json.dumps(found.to_json()))["passed"] is True
    assert "understood" in found.to_arrow()["about"].to_pylist()


FAULTS = {
    "probabilities": (lambda net, x: net(x).softmax(1), {"logits": "fails"}, 3),
    "one class index": (lambda net, x: net(x).argmax(1), {"outputs": "fails", "logits": "not looked at"}, 3),
    "random": (lambda net, x: net(x) + torch.randn(len(x), 4), {"deterministic": "fails", "logits": "holds"}, 3),
    "a batch's own mean": (lambda net, x: net(x - x.mean(0)), {"batch": "fails", "deterministic": "holds"}, 3),
    "no gradient": (lambda net, x: net(x.detach()), {"gradient": "note", "logits": "holds"}, 0),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_finding_among_the_others(fault):
    change, expected, code = FAULTS[fault]
    found = eb.check(eb.Classifier(Wrapped(change, mlp())), data())
    assert expected.items() <= states(found).items()
    assert found.exit_code == code
    assert (found.natural is None) == (code != 0)


def test_faults_of_the_data_are_findings():
    x, y = data()
    assert states(eb.check(eb.Classifier(mlp()), (255 * x, y)))["inputs"] == "fails"
    assert states(eb.check(eb.Classifier(mlp()), (x, y + 4)))["outputs"] == "fails"
    one = eb.check(eb.Classifier(mlp()), (x, torch.zeros_like(y)))
    assert "one class only" in str(one)


def test_a_network_without_certificates_is_told_why():
    found = eb.check(eb.Classifier(Wrapped(lambda net, x: net(x.sort(1).values), mlp())), data())
    assert found.passed
    assert {method.runs for method in found.certificates} == {"cannot run"}
    assert "no certificates: " in str(found)


def test_where_the_preprocessing_was_read_is_said():
    classifier = eb.Classifier(mlp(), mean=0.5, std=0.25)
    assert eb.check(classifier, data()).about["preprocessing"] == "mean=0.5, std=0.25 (given to the Classifier)"
    assert "none outside the model" in eb.check(eb.Classifier(mlp()), data()).about["preprocessing"]


@pytest.mark.parametrize(
    ("classes", "effort"), [(2, Ensemble()), (4, Ensemble()), (4, Ensemble(queries=20, patience=10.0))]
)
def test_the_passes_of_an_example_that_never_breaks_are_those_of_the_ledger(classes, effort):
    weight = torch.zeros(classes, 16)
    weight[0] = 1.0
    x = torch.full((1, 16), 0.5)
    found = eb.attack(
        eb.Classifier(linear(weight, torch.zeros(classes))),
        x,
        torch.tensor([0]),
        eb.Ball("linf", "0.001"),
        method=effort,
    )
    own = found.ledger.searching()
    spent = int(found.ledger.forwards[own].sum() + found.ledger.backwards[own].sum())
    assert spent == effort.passes_standing(classes)[0]


def test_the_command_line(capsys):
    command = ["check", "mlp,hidden=8", "digits,first=30", "--ball", "l2:0.1"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "preprocessing" in printed
    assert "lipschitz" in printed
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["total"] == 30
    assert main(["check", "mlp,hidden=8", "digits,first=30", "--ball", "l9:1"]) == 2
