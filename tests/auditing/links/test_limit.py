import pytest
import torch

import epsball as eb
from auditing.cases import ATTACK, BALL, Right, case
from epsball import Ball, Classifier
from epsball.attacks import Attack
from epsball.auditing.links import LimitLink
from epsball.auditing.subject import Subject
from helpers import mlp


def test_the_right_end_is_the_limit_of_the_audited_examples(tmp_path):
    x = torch.tensor([[0.1], [0.3], [0.6], [0.9]], dtype=torch.float64).repeat(1, 16)
    y = torch.tensor([0, 1, 0, 1])
    module = mlp(classes=2).double()
    audit = eb.audit(Classifier(module), (x, y), Ball("linf", 0.125), attack=ATTACK, folder=tmp_path)
    limit = audit.chain.limit
    assert limit.stored == pytest.approx(0.25)
    assert audit.chain.places["1 - optimal adversarial risk"].value == pytest.approx(0.75)
    assert audit.evidence.column("limit.hard").to_pylist() == ["either", "either", "safe", "safe"]
    low, high = audit.chain.avoidable_error
    assert low == pytest.approx(max(0.0, audit.chain.decomposition.robust.low - 0.25))
    assert high == pytest.approx(audit.chain.decomposition.robust.high - 0.25)
    assert "avoidable error" in str(audit)
    assert (tmp_path / "limit.arrow").exists()


def test_an_attack_that_does_nothing_learns_what_it_missed():
    class Lazy(Attack):
        name = "lazy"

        def __call__(self, query, ball, *, keys):
            query.logits(query.x)

    x = torch.tensor([[0.1], [0.3]]).repeat(1, 16)
    audit = eb.audit(Classifier(Right()), (x, torch.tensor([0, 1])), Ball("linf", 0.125), attack=Lazy())
    assert "missed at least one witness" in str(audit)
    assert "missed at least one witness" in audit.to_json()["missed witness"]


def test_failures_are_not_a_sign_of_a_missed_witness():
    class Failing(Right):
        def forward(self, x):
            return torch.where(x[:, :1] == 0.3, torch.nan, super().forward(x))

    x = torch.tensor([[0.1], [0.3]]).repeat(1, 16)
    audit = eb.audit(Classifier(Failing()), (x, torch.tensor([0, 1])), Ball("linf", 0.125), attack=ATTACK)
    assert audit.chain.verdicts["invalid"] == 1
    assert audit.chain.missed_witness is None


def test_without_a_limit_the_place_is_named_as_not_measured():
    classifier, x, y = case(20)
    options = {"attack": "fgsm", "certificates": "none"}
    assert (
        "1 - optimal adversarial risk" in eb.audit(classifier, (x, y), BALL, limit=False, **options).chain.not_measured
    )
    one = eb.audit(classifier, (x, torch.zeros(20, dtype=torch.int64)), BALL, **options)
    assert "1 - optimal adversarial risk" in one.chain.not_measured
    assert "limit.hard" not in one.evidence.column_names


def test_more_examples_than_fit_into_memory_have_no_limit():
    classifier, x, y = case(20)
    subject, evidence = Subject.of(classifier, eb.data.load((x, y)), BALL, 0), None
    assert not LimitLink(max_bytes=x.nbytes - 1).on_run(subject, evidence).bounds
