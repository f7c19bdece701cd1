from typing import get_args

import pytest

import epsball as eb
from auditing.cases import BALL, case
from epsball import Ball, InputError
from epsball.attacks import Ensemble
from epsball.auditing.effort import EFFORTS, EffortName, effort_of
from epsball.certificates import ALIASES, METHODS, MethodName, Semantics, arithmetic_of


def test_every_effort_buys_the_ensemble_and_more_of_it():
    attacks = [effort.attack for effort in EFFORTS.values()]
    assert all(isinstance(method, Ensemble) for method in attacks)
    assert attacks[0] == Ensemble()
    costs = [(method.queries, method.patience, method.most) for method in attacks]
    assert costs == sorted(costs)
    passes = [effort.certificate_passes or 10**9 for effort in EFFORTS.values()]
    assert passes == sorted(passes)


def test_the_types_list_what_is_registered():
    assert get_args(EffortName) == tuple(EFFORTS)
    assert set(get_args(MethodName)) == {"auto", *METHODS, *ALIASES}
    assert [arithmetic_of(name).name for name in get_args(Semantics)] == ["float32", "real"]


def test_the_old_keyword_still_names_an_effort(as_users_run):
    classifier, x, y = case(20)
    options = {"attack": "fgsm", "certificates": "none", "limit": False}
    with pytest.warns(DeprecationWarning, match="write effort='standard'"):
        old = eb.audit(classifier, (x, y), BALL, budget="standard", **options)
    assert old.evidence.equals(eb.audit(classifier, (x, y), BALL, effort="standard", **options).evidence)
    with pytest.raises(InputError, match="effort is 'full' and budget is 'quick'; they mean the same"):
        eb.audit(classifier, (x, y), BALL, effort="full", budget="quick", **options)
    with pytest.raises(InputError, match="Did you mean 'quick'"):
        eb.audit(classifier, (x, y), BALL, effort="quik", **options)
    assert effort_of(None) is effort_of("quick")


@pytest.mark.parametrize("attack", [None, "ensemble,queries=10"])
def test_the_evidence_names_the_component_and_the_ledger_has_its_passes(attack):
    classifier, x, _ = case(20)
    y = classifier.logits(x).argmax(1)
    audit = eb.audit(classifier, (x, y), Ball("linf", 0.8), attack=attack, certificates="none", limit=False)
    assert set(audit.evidence["attack.by"].to_pylist()) <= {"apgd-ce", "apgd-t", "square", "shots"}
    assert "apgd-ce" in audit.ledger["attack"].to_pylist()
