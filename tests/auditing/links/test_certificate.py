import dataclasses

import pytest
import torch

import epsball as eb
from auditing.cases import ATTACK, BALL, case
from epsball import Ball, Classifier, InputError, SoundnessError, UnsupportedOperation
from epsball.certificates import Certification
from helpers import examples, mlp


def test_certificates_are_the_left_link_and_close_the_chain_from_below(tmp_path):
    classifier, x, y = case()
    ball = Ball("linf", 0.02)
    audit = eb.audit(classifier, (x, y), ball, attack=ATTACK, folder=tmp_path / "run", limit=False)
    rows = audit.evidence.to_pylist()
    certified = [row for row in rows if row["verdict"] == "certified"]
    assert 5 < len(certified) < 60
    places = audit.chain.places
    assert places["certified accuracy"].value == pytest.approx(len(certified) / 60)
    assert places["certified accuracy"].value <= places["accuracy under attack"].value
    assert audit.chain.robust_accuracy[0] == pytest.approx(len(certified) / 60)
    for row in certified:
        assert row["certificate.margin"] <= row["attack.margin"]
        assert row["certificate.method"] is not None
    assert sum(row["attack.whole"] for row in certified) == 5, "some of the certified get the full attack"
    assert all(row["attack.whole"] for row in rows if row["verdict"] != "certified")
    files = sorted((tmp_path / "run" / "certificates").glob("*.json.gz"))
    assert len(files) >= len(certified)
    assert audit.chain.to_json()["without certificates because"] is None


def test_expensive_methods_are_for_what_a_short_attack_leaves_standing():
    classifier, x, y = case()
    audit = eb.audit(classifier, (x, y), BALL, attack="pgd,steps=40", limit=False)
    rows = audit.evidence.to_pylist()
    spared = [row for row in rows if not row["certificate.whole"]]
    assert len(spared) > 3
    for row in spared:
        assert row["verdict"] == "broken"
        assert row["certificate.crown.margin"] is None
        assert row["certificate.crown-ibp.margin"] is not None
    assert sum(row["verdict"] == "broken" and row["certificate.whole"] for row in rows) >= 5, "some get all methods"
    alone = eb.certify(classifier, x, y, BALL)
    assert [row["certificate.certified"] for row in rows] == alone.certified.tolist()
    asked = eb.audit(classifier, (x, y), BALL, attack="fgsm", certificates="crown", limit=False).evidence.to_pylist()
    assert all(row["certificate.crown.margin"] is not None for row in asked)


@pytest.mark.parametrize(
    ("count", "radius", "wrong"), [(1, 0.1, False), (12, 0, False), (12, 0.1, True), (4, 0.8, False)]
)
def test_the_smallest_audits_have_certificates_too(count, radius, wrong):
    x, _ = examples(count)
    y = (mlp()(x).argmax(1) + wrong) % 4
    audit = eb.audit(Classifier(mlp()), (x, y), Ball("linf", radius), attack=ATTACK, limit=False)
    rows = audit.evidence.to_pylist()
    assert all(row["certificate.whole"] for row in rows), "nothing is broken, or fewer than always get all methods"
    assert all(row["certificate.interval.margin"] is not None for row in rows)
    if wrong:
        assert {row["verdict"] for row in rows} == {"misclassified"}
    elif radius == 0:
        assert {row["verdict"] for row in rows} == {"certified"}


def test_a_false_certificate_is_found_by_the_short_attack(monkeypatch):
    classifier, x, y = case()

    def boastful(self, *arguments, **options):
        found = certificates(self, *arguments, **options)
        n = len(found.margin)
        claims = {"margin": torch.full((n,), 9.0, dtype=torch.float64), "certified": found.predicted == arguments[2]}
        return dataclasses.replace(found, stable=torch.ones(n, dtype=torch.bool), **claims)

    certificates = Certification.certificates
    monkeypatch.setattr(Certification, "certificates", boastful)
    for semantics in ("float32", "real"):
        with pytest.raises(SoundnessError, match="certified to keep a margin of 9"):
            eb.audit(classifier, (x, y), BALL, attack=ATTACK, certificates="interval", semantics=semantics)


def test_a_network_without_certificates_is_audited_and_the_chain_says_why(as_users_run):
    class Unbounded(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = mlp()

        def forward(self, x):
            return self.inner(x).cumsum(1)

    x, _ = examples(20)
    classifier = Classifier(Unbounded())
    y = classifier.logits(x).argmax(1)
    audit = eb.audit(classifier, (x, y), BALL, attack=ATTACK, limit=False)
    assert "certificate.certified" not in audit.evidence.column_names
    assert "not measured (" in str(audit)
    assert "cumsum" in str(audit.chain.uncertified)
    with pytest.raises(UnsupportedOperation, match="cumsum"):
        eb.audit(classifier, (x, y), BALL, certificates="crown")
    with pytest.raises(InputError, match="Did you mean 'crown'"):
        eb.audit(classifier, (x, y), BALL, certificates="crow")
