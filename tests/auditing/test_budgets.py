import pytest

import epsball as eb
from epsball import Ball, Classifier
from epsball.attacks import Ensemble
from epsball.auditing.audit import BUDGETS
from helpers import examples, mlp


def test_every_budget_buys_the_ensemble_and_more_of_it():
    attacks = list(BUDGETS.values())
    assert all(isinstance(method, Ensemble) for method in attacks)
    assert attacks[0] == Ensemble()
    costs = [(method.queries, method.patience, method.most) for method in attacks]
    assert costs == sorted(costs)


@pytest.mark.parametrize("attack", [None, "ensemble,queries=10"])
def test_the_evidence_names_the_component_and_the_ledger_has_its_passes(attack):
    classifier = Classifier(mlp())
    x, _ = examples(20)
    y = classifier.logits(x).argmax(1)
    audit = eb.audit(classifier, (x, y), Ball("linf", 0.8), attack=attack, certificates="none", limit=False)
    assert set(audit.evidence["attack.by"].to_pylist()) <= {"apgd-ce", "apgd-t", "square", "shots"}
    assert "apgd-ce" in audit.ledger["attack"].to_pylist()
