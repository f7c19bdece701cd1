import sys
from typing import ClassVar

import pyarrow
import pytest
import torch

import epsball as eb
from auditing.cases import ATTACK, BALL, BARE, case, spoilt
from epsball import Ball, Classifier, InputError, SoundnessError
from epsball.attacks import PGD, Attack, Ledger
from epsball.auditing.evidence import gather
from epsball.auditing.link import Findings, Link
from epsball.auditing.links import AttackLink, NaturalLink
from epsball.auditing.subject import Subject
from epsball.statistics import clopper_pearson
from helpers import Wrapped, examples, mlp


@pytest.fixture
def shards_of(monkeypatch):
    """Return a function that sets the number of examples per shard."""
    return lambda count: monkeypatch.setattr(sys.modules["epsball.auditing.audit"], "SHARD", count)


@pytest.fixture(scope="module")
def full():
    """Return a classifier, points, labels, and their audit with all links."""
    classifier, x, y = case(40)
    return classifier, x, y, eb.audit(classifier, (x, y), BALL, attack=ATTACK)


def test_the_chain_counts_what_the_evidence_says():
    classifier, x, y = case()
    audit = eb.audit(classifier, (x, y), BALL, **BARE)
    rows = audit.evidence.to_pylist()
    verdicts = [row["verdict"] for row in rows]
    wrong = int((classifier.logits(x).argmax(1) != y).sum())
    assert verdicts.count("misclassified") == wrong == 6
    standing = verdicts.count("undecided")
    places = audit.chain.places
    assert places["natural accuracy"].value == pytest.approx(54 / 60)
    assert places["accuracy under attack"].value == pytest.approx(standing / 60)
    assert places["accuracy under attack"].interval == clopper_pearson(standing, 60)
    assert audit.chain.robust_accuracy == (pytest.approx(0.0), pytest.approx(standing / 60))
    assert audit.chain.not_measured == ["certified accuracy", "1 - optimal adversarial risk"]
    assert audit.chain.decomposition.natural.low == pytest.approx(0.1)
    assert audit.chain.decomposition.boundary.low == pytest.approx(verdicts.count("broken") / 60)
    assert dict(audit.chain.verdicts) == {v: verdicts.count(v) for v in set(verdicts)}
    assert "not measured" in str(audit)


def test_every_broken_example_has_a_witness_that_verifies(full):
    classifier, x, y, audit = full
    broken = [row["index"] for row in audit.evidence.to_pylist() if row["verdict"] == "broken"]
    assert broken == audit.witnesses.index.tolist()
    assert len(broken) > 3
    assert torch.equal(audit.witnesses.x, x[audit.witnesses.index])
    assert BALL.contains(audit.witnesses.x_adv, audit.witnesses.x).all()
    assert (classifier.logits(audit.witnesses.x_adv).argmax(1) != y[audit.witnesses.index]).all()


def test_the_ledger_accounts_for_the_whole_audit():
    classifier, x, y = case()
    audit = eb.audit(classifier, (x, y), BALL, attack=ATTACK, limit=False)
    spent = (
        pyarrow.compute.sum(audit.ledger["forwards"]).as_py(),
        pyarrow.compute.sum(audit.ledger["backwards"]).as_py(),
    )
    assert spent == (classifier.passes.forward, classifier.passes.backward)
    by_example = sum(row["attack.forwards"] for row in audit.evidence.to_pylist())
    assert 0 < by_example < spent[0]


def test_shards_and_positions_do_not_change_the_evidence(full, shards_of):
    classifier, x, y, audit = full
    shards_of(13)
    pieces = eb.audit(classifier, (x, y), BALL, attack=ATTACK)
    assert pieces.evidence.column("verdict").to_pylist() == audit.evidence.column("verdict").to_pylist()
    assert pieces.evidence.column("index").to_pylist() == list(range(40))
    assert torch.equal(pieces.witnesses.index, audit.witnesses.index)


def test_the_network_is_captured_once_per_run(shards_of, monkeypatch):
    captured = []
    of = eb.certificates.Verifier.of
    monkeypatch.setattr(eb.certificates.Verifier, "of", lambda *arguments: captured.append(1) or of(*arguments))
    shards_of(13)
    classifier, x, y = case(30)
    eb.audit(classifier, (x, y), BALL, attack="fgsm", certificates="interval", semantics="real", limit=False)
    assert captured == [1]


def test_invalid_examples_count_against_lower_and_for_upper_ends():
    x, _ = examples(40)
    x = x.clamp(0.2, 0.8)
    y = mlp()(x).argmax(1)
    x[[3, 8], 0] = 1.0
    audit = eb.audit(spoilt(lambda x: x[:, :1] == 1.0), (x, y), Ball("linf", 0.01), attack=ATTACK)
    verdicts = audit.evidence.column("verdict").to_pylist()
    assert [i for i, v in enumerate(verdicts) if v == "invalid"] == [3, 8]
    assert audit.evidence.column("invalid.reason").to_pylist()[3] == "the logits are not finite at the example itself"
    standing = verdicts.count("undecided") + verdicts.count("certified")
    assert audit.chain.places["natural accuracy"].value == 1.0
    assert audit.chain.places["natural accuracy"].interval.low == clopper_pearson(38, 40).low
    assert audit.chain.places["accuracy under attack"].value == pytest.approx((standing + 2) / 40)
    assert audit.chain.decomposition.natural.low == 0.0
    assert audit.chain.decomposition.natural.high == pytest.approx(2 / 40)


def test_broken_and_certified_is_raised_loudly():
    class Liar(Link):
        name = "certificate"
        schema: ClassVar = {"certificate.certified": "bool"}

        def on_shard(self, shard, evidence):
            return Findings(columns={"certificate.certified": torch.ones(len(shard.y), dtype=torch.bool)})

    classifier, x, y = case()
    shard = Subject.of(classifier, eb.data.load((x, y)), BALL, 0).shard(slice(0, 60))
    with pytest.raises(SoundnessError, match="both broken and certified"):
        gather([NaturalLink(), AttackLink(method=PGD()), Liar()], shard, Ledger.empty())


def test_nothing_correct_and_nothing_broken_are_fine():
    classifier, x, y = case()
    wrong = (classifier.logits(x).argmax(1) + 1) % 4
    nothing = eb.audit(classifier, (x, wrong), BALL, attack=ATTACK)
    assert dict(nothing.chain.verdicts) == {"misclassified": 60}
    assert nothing.chain.places["accuracy under attack"].value == 0.0
    assert len(nothing.witnesses.x_adv) == 0
    tiny = eb.audit(classifier, (x, y), Ball("linf", "1e-9"), attack=ATTACK)
    assert "broken" not in tiny.chain.verdicts


def test_what_is_not_a_classifier_or_a_ball_is_named(as_users_run):
    x, y = examples(4)
    with pytest.raises(InputError, match="the model is a Sequential; give a Classifier"):
        eb.audit(mlp(), (x, y), Ball("linf", 0.1))
    with pytest.raises(InputError, match="the ball is 'linf:0.1'; give a Ball"):
        eb.audit(Classifier(mlp()), (x, y), "linf:0.1")


def test_failures_found_by_the_attack_leave_natural_accuracy_alone():
    x, _ = examples(40)
    x[:, 0] = 0.495
    y = mlp()(x).argmax(1)
    places = eb.audit(spoilt(lambda x: x[:, :1] > 0.5), (x, y), Ball("linf", 0.01), **BARE).chain.places
    assert places["natural accuracy"].value == 1.0
    assert places["accuracy under attack"].value <= places["natural accuracy"].value


def test_per_example_fields_are_those_of_the_whole_data(shards_of):
    shards_of(13)
    classifier, x, y = case()
    asked = {}

    class Noting(Attack):
        name = "noting"

        def __call__(self, query, ball, *, keys):
            asked.update(zip(query.index.tolist(), query.y.tolist(), strict=True))
            assert query.total == 60

    eb.audit(classifier, (x, y), BALL, attack=Noting(), certificates="none", limit=False)
    correct = torch.nonzero(classifier.logits(x).argmax(1) == y)[:, 0].tolist()
    assert asked == {i: int(y[i]) for i in correct}


def test_a_stochastic_audit_repeats_and_judges_the_examples_once():
    noisy = Wrapped(lambda m, x: m(x + 0.2 * torch.randn_like(x)), mlp())
    x, y = examples(40)
    classifiers = [Classifier(noisy, stochastic=True, repetitions=3) for _ in range(2)]
    runs = [eb.audit(classifier, (x, y), Ball("linf", 0.01), attack=ATTACK) for classifier in classifiers]
    assert runs[0].evidence.equals(runs[1].evidence)
    for row in runs[0].evidence.to_pylist():
        assert (row["verdict"] == "misclassified") == (row["natural.margin"] <= 0)
        assert not (row["verdict"] == "broken" and row["attack.distance"] == 0)


def test_one_invalid_example_alone_in_its_shard_is_one_invalid_example(shards_of):
    shards_of(20)
    x, _ = examples(21)
    x = x.clamp(0.2, 0.8)
    y = mlp()(x).argmax(1)
    x[20, 0] = 1.0
    classifier = spoilt(lambda x: x[:, :1] == 1.0)
    audit = eb.audit(classifier, (x, y), BALL, attack=ATTACK, limit=False)
    assert audit.evidence.column("verdict").to_pylist()[20] == "invalid"


def test_labels_and_inputs_are_named_by_their_place_in_the_data(shards_of):
    shards_of(20)
    classifier, x, y = case()
    y = y.clone()
    y[45] = 7
    with pytest.raises(InputError, match="label 7 at index 45"):
        eb.audit(classifier, (x, y), BALL, **BARE)
    assert classifier.passes.backward == 0
    y[45], x[50, 0] = 0, 1.5
    with pytest.raises(InputError, match="max 1.5"):
        eb.audit(classifier, (x, y), BALL, **BARE)
