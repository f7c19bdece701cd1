import json

import pyarrow
import pytest
import torch
from safetensors.torch import load_file

import epsball as eb
from epsball import Ball, Classifier, InputError, SoundnessError
from epsball.attacks import PGD
from epsball.auditing.evidence import gather
from epsball.auditing.link import Findings, Shard
from epsball.auditing.links import AttackLink, NaturalLink
from epsball.classifier.guards import PROBED
from epsball.statistics import clopper_pearson
from helpers import Wrapped, examples, mlp

BALL = Ball("linf", 0.1)


def case(n: int = 60):
    x, _ = examples(n)
    y = mlp()(x).argmax(1)
    y[::10] = (y[::10] + 1) % 4
    return Classifier(mlp()), x, y


def test_the_chain_counts_what_the_evidence_says():
    classifier, x, y = case()
    audit = eb.audit(classifier, (x, y), BALL, attack=PGD(steps=20))
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


def test_every_broken_example_has_a_witness_that_verifies():
    classifier, x, y = case()
    audit = eb.audit(classifier, (x, y), BALL, attack=PGD(steps=20))
    broken = [row["index"] for row in audit.evidence.to_pylist() if row["verdict"] == "broken"]
    assert broken == audit.index.tolist()
    assert len(broken) > 3
    assert torch.equal(audit.x, x[audit.index])
    assert BALL.contains(audit.x_adv, audit.x).all()
    assert (classifier.logits(audit.x_adv).argmax(1) != y[audit.index]).all()


def test_the_ledger_accounts_for_the_whole_audit():
    classifier, x, y = case()
    audit = eb.audit(classifier, (x, y), BALL, attack=PGD(steps=20))
    spent = (
        pyarrow.compute.sum(audit.ledger["forwards"]).as_py(),
        pyarrow.compute.sum(audit.ledger["backwards"]).as_py(),
    )
    guard_of_the_audit = 3 * PROBED
    assert spent == (classifier.passes.forward - guard_of_the_audit, classifier.passes.backward)
    by_example = sum(row["attack.forwards"] for row in audit.evidence.to_pylist())
    assert 0 < by_example < spent[0]


def test_shards_and_positions_do_not_change_the_evidence(monkeypatch):
    classifier, x, y = case()
    whole = eb.audit(classifier, (x, y), BALL)
    monkeypatch.setattr("epsball.auditing.run.SHARD", 13)
    pieces = eb.audit(classifier, (x, y), BALL)
    assert pieces.evidence.column("verdict").to_pylist() == whole.evidence.column("verdict").to_pylist()
    assert pieces.evidence.column("index").to_pylist() == list(range(60))
    assert torch.equal(pieces.index, whole.index)


def test_invalid_examples_count_against_lower_and_for_upper_ends():
    def spoilt(module, x):
        return torch.where(x[:, :1] == 1.0, torch.nan, module(x))

    x, _ = examples(40)
    x = x.clamp(0.2, 0.8)
    y = mlp()(x).argmax(1)
    x[[3, 8], 0] = 1.0
    audit = eb.audit(Classifier(Wrapped(spoilt, mlp())), (x, y), Ball("linf", 0.01))
    verdicts = audit.evidence.column("verdict").to_pylist()
    assert [i for i, v in enumerate(verdicts) if v == "invalid"] == [3, 8]
    assert audit.evidence.column("invalid.reason").to_pylist()[3] == "the logits are not finite at the example itself"
    standing = verdicts.count("undecided")
    assert audit.chain.places["natural accuracy"].value == pytest.approx(38 / 40)
    assert audit.chain.places["accuracy under attack"].value == pytest.approx((standing + 2) / 40)
    assert audit.chain.decomposition.natural.low == 0.0
    assert audit.chain.decomposition.natural.high == pytest.approx(2 / 40)


def test_broken_and_certified_is_raised_loudly():
    class Liar:
        name = "certificate"

        def __call__(self, shard, evidence):
            return Findings(columns={"certificate.certified": torch.ones(len(shard.y), dtype=torch.bool)})

    classifier, x, y = case()
    shard = Shard(classifier=classifier, ball=BALL, seed=0, x=x, y=y, positions=torch.arange(60))
    with pytest.raises(SoundnessError, match="both broken and certified"):
        gather([NaturalLink(), AttackLink(method=PGD()), Liar()], shard)


def test_nothing_correct_and_nothing_broken_are_fine():
    classifier, x, y = case()
    wrong = (classifier.logits(x).argmax(1) + 1) % 4
    nothing = eb.audit(classifier, (x, wrong), BALL)
    assert dict(nothing.chain.verdicts) == {"misclassified": 60}
    assert nothing.chain.places["accuracy under attack"].value == 0.0
    assert len(nothing.x_adv) == 0
    tiny = eb.audit(classifier, (x, y), Ball("linf", "1e-9"))
    assert "broken" not in tiny.chain.verdicts


def test_the_folder_holds_the_run_and_a_killed_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("epsball.auditing.run.SHARD", 20)
    classifier, x, y = case()
    folder = tmp_path / "run"
    done = eb.audit(classifier, (x, y), BALL, folder=folder)
    assert json.loads((folder / "chain.json").read_text())["total"] == 60
    assert (folder / "witnesses.png").stat().st_size > 1000
    assert len(load_file(folder / "witnesses-00000.safetensors")["x_adv"]) > 0
    (folder / "evidence-00001.arrow").unlink()
    before = classifier.passes.forward
    again = eb.audit(classifier, (x, y), BALL, folder=folder)
    assert again.evidence.equals(done.evidence)
    assert torch.equal(again.x_adv, done.x_adv)
    redone = classifier.passes.forward - before
    assert 0 < redone < before / 2


def test_an_audit_from_a_folder_equals_one_in_memory(tmp_path):
    classifier, x, y = case()
    written = eb.audit(classifier, (x, y), BALL, folder=tmp_path / "run")
    read = eb.audit(classifier, (x, y), BALL, folder=tmp_path / "run")
    memory = eb.audit(classifier, (x, y), BALL)
    assert written.evidence.equals(read.evidence)
    assert written.evidence.equals(memory.evidence)
    assert torch.equal(read.x_adv, memory.x_adv)


def test_another_run_does_not_go_on_in_the_folder(tmp_path):
    classifier, x, y = case()
    folder = tmp_path / "run"
    eb.audit(classifier, (x, y), BALL, folder=folder)
    with pytest.raises(InputError, match="ball: there 'linf:1/10', now 'linf:1/5'|ball: there"):
        eb.audit(classifier, (x, y), Ball("linf", 0.2), folder=folder)
    with pytest.raises(InputError, match="model: there"):
        eb.audit(Classifier(mlp(seed=1)), (x, y), BALL, folder=folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        eb.audit(classifier, (x, y), BALL, folder=tmp_path / "other")


def test_a_truncated_shard_is_named(tmp_path):
    classifier, x, y = case()
    eb.audit(classifier, (x, y), BALL, folder=tmp_path)
    file = tmp_path / "witnesses-00000.safetensors"
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(InputError, match="shard 0 .* cannot be read"):
        eb.audit(classifier, (x, y), BALL, folder=tmp_path)


def test_budgets_by_name():
    classifier, x, y = case(20)
    assert eb.audit(classifier, (x, y), BALL, budget="quick").chain.total == 20
    with pytest.raises(InputError, match="Did you mean 'quick'"):
        eb.audit(classifier, (x, y), BALL, budget="quik")


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 6, 6), (16,)])
def test_pictures_of_images_and_of_vectors(shape):
    inputs = int(torch.tensor(shape).prod())
    module = mlp(inputs=inputs)
    x, _ = examples(30, shape)
    audit = eb.audit(Classifier(module), (x, module(x).argmax(1)), Ball("linf", 0.3))
    figure = audit.plot()
    assert len(figure.axes) == 3 * min(6, len(audit.index))
