import dataclasses
import json
import sys

import pyarrow
import pytest
import torch
from safetensors.torch import load_file

import epsball as eb
from epsball import Ball, Classifier, InputError, SoundnessError, UnsupportedOperation
from epsball.attacks import PGD, Attack, Ledger
from epsball.auditing.evidence import gather
from epsball.auditing.link import Findings, Shard
from epsball.auditing.links import AttackLink, NaturalLink
from epsball.certificates import Certification
from epsball.statistics import clopper_pearson
from helpers import Wrapped, examples, mlp

pytestmark = pytest.mark.usefixtures("short_audits")

BALL = Ball("linf", 0.1)


def case(n: int = 60):
    x, _ = examples(n)
    y = mlp()(x).argmax(1)
    y[::10] = (y[::10] + 1) % 4
    return Classifier(mlp()), x, y


def test_the_chain_counts_what_the_evidence_says():
    classifier, x, y = case()
    audit = eb.audit(classifier, (x, y), BALL, attack=PGD(steps=20), certificates="none")
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
    assert audit.chain.not_measured == ["certified accuracy"]
    assert audit.chain.decomposition.natural.low == pytest.approx(0.1)
    assert audit.chain.decomposition.boundary.low == pytest.approx(verdicts.count("broken") / 60)
    assert dict(audit.chain.verdicts) == {v: verdicts.count(v) for v in set(verdicts)}
    assert "not measured" in str(audit)


def test_every_broken_example_has_a_witness_that_verifies():
    classifier, x, y = case()
    audit = eb.audit(classifier, (x, y), BALL, attack=PGD(steps=20))
    broken = [row["index"] for row in audit.evidence.to_pylist() if row["verdict"] == "broken"]
    assert broken == audit.witnesses.index.tolist()
    assert len(broken) > 3
    assert torch.equal(audit.witnesses.x, x[audit.witnesses.index])
    assert BALL.contains(audit.witnesses.x_adv, audit.witnesses.x).all()
    assert (classifier.logits(audit.witnesses.x_adv).argmax(1) != y[audit.witnesses.index]).all()


def test_the_ledger_accounts_for_the_whole_audit():
    classifier, x, y = case()
    audit = eb.audit(classifier, (x, y), BALL, attack=PGD(steps=20))
    spent = (
        pyarrow.compute.sum(audit.ledger["forwards"]).as_py(),
        pyarrow.compute.sum(audit.ledger["backwards"]).as_py(),
    )
    assert spent == (classifier.passes.forward, classifier.passes.backward)
    by_example = sum(row["attack.forwards"] for row in audit.evidence.to_pylist())
    assert 0 < by_example < spent[0]


def test_shards_and_positions_do_not_change_the_evidence(monkeypatch):
    classifier, x, y = case()
    whole = eb.audit(classifier, (x, y), BALL)
    monkeypatch.setattr(sys.modules["epsball.auditing.audit"], "SHARD", 13)
    pieces = eb.audit(classifier, (x, y), BALL)
    assert pieces.evidence.column("verdict").to_pylist() == whole.evidence.column("verdict").to_pylist()
    assert pieces.evidence.column("index").to_pylist() == list(range(60))
    assert torch.equal(pieces.witnesses.index, whole.witnesses.index)


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
    standing = verdicts.count("undecided") + verdicts.count("certified")
    assert audit.chain.places["natural accuracy"].value == 1.0
    assert audit.chain.places["natural accuracy"].interval.low == clopper_pearson(38, 40).low
    assert audit.chain.places["accuracy under attack"].value == pytest.approx((standing + 2) / 40)
    assert audit.chain.decomposition.natural.low == 0.0
    assert audit.chain.decomposition.natural.high == pytest.approx(2 / 40)


def test_broken_and_certified_is_raised_loudly():
    class Liar:
        name = "certificate"

        @property
        def schema(self):
            return {"certificate.certified": "bool"}

        def places(self, evidence):
            return {}

        def __call__(self, shard, evidence):
            return Findings(columns={"certificate.certified": torch.ones(len(shard.y), dtype=torch.bool)})

    classifier, x, y = case()
    rows = torch.arange(60)
    shard = Shard(classifier=classifier, ball=BALL, seed=0, classes=4, x=x, y=y, positions=rows, rows=rows, total=60)
    with pytest.raises(SoundnessError, match="both broken and certified"):
        gather([NaturalLink(), AttackLink(method=PGD()), Liar()], shard, Ledger.empty())


def test_nothing_correct_and_nothing_broken_are_fine():
    classifier, x, y = case()
    wrong = (classifier.logits(x).argmax(1) + 1) % 4
    nothing = eb.audit(classifier, (x, wrong), BALL)
    assert dict(nothing.chain.verdicts) == {"misclassified": 60}
    assert nothing.chain.places["accuracy under attack"].value == 0.0
    assert len(nothing.witnesses.x_adv) == 0
    tiny = eb.audit(classifier, (x, y), Ball("linf", "1e-9"))
    assert "broken" not in tiny.chain.verdicts


def test_the_folder_holds_the_run_and_a_killed_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["epsball.auditing.audit"], "SHARD", 20)
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
    assert torch.equal(again.witnesses.x_adv, done.witnesses.x_adv)
    redone = classifier.passes.forward - before
    assert 0 < redone < before / 2


def test_an_audit_from_a_folder_equals_one_in_memory(tmp_path):
    classifier, x, y = case()
    written = eb.audit(classifier, (x, y), BALL, folder=tmp_path / "run")
    read = eb.audit(classifier, (x, y), BALL, folder=tmp_path / "run")
    memory = eb.audit(classifier, (x, y), BALL)
    assert written.evidence.equals(read.evidence)
    assert written.evidence.equals(memory.evidence)
    assert torch.equal(read.witnesses.x_adv, memory.witnesses.x_adv)


def test_another_run_does_not_go_on_in_the_folder(tmp_path):
    classifier, x, y = case()
    folder = tmp_path / "run"
    eb.audit(classifier, (x, y), BALL, folder=folder)
    with pytest.raises(InputError, match="ball: there 'linf:0.1', now 'linf:0.2'"):
        eb.audit(classifier, (x, y), Ball("linf", 0.2), folder=folder)
    with pytest.raises(InputError, match="network: there"):
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


def test_what_is_no_classifier_or_no_ball_is_told(as_users_run):
    x, y = examples(4)
    with pytest.raises(InputError, match="the model is a Sequential; give a Classifier"):
        eb.audit(mlp(), (x, y), Ball("linf", 0.1))
    with pytest.raises(InputError, match="the ball is 'linf:0.1'; give a Ball"):
        eb.audit(Classifier(mlp()), (x, y), "linf:0.1")


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
    assert len(figure.axes) == 3 * min(6, len(audit.witnesses.index))


def test_failures_found_by_the_attack_leave_natural_accuracy_alone():
    def spoilt(module, x):
        return torch.where(x[:, :1] > 0.5, torch.nan, module(x))

    x, _ = examples(40)
    x[:, 0] = 0.495
    y = mlp()(x).argmax(1)
    places = eb.audit(Classifier(Wrapped(spoilt, mlp())), (x, y), Ball("linf", 0.01)).chain.places
    assert places["natural accuracy"].value == 1.0
    assert places["accuracy under attack"].value <= places["natural accuracy"].value


def test_per_example_fields_are_those_of_the_whole_data(monkeypatch):
    monkeypatch.setattr(sys.modules["epsball.auditing.audit"], "SHARD", 13)
    classifier, x, y = case()
    asked = {}

    class Noting(Attack):
        name = "noting"

        def __call__(self, query, ball, *, keys):
            asked.update(zip(query.index.tolist(), query.y.tolist(), strict=True))
            assert query.total == 60

    eb.audit(classifier, (x, y), BALL, attack=Noting())
    correct = torch.nonzero(classifier.logits(x).argmax(1) == y)[:, 0].tolist()
    assert asked == {i: int(y[i]) for i in correct}


def test_a_stochastic_audit_repeats_and_judges_the_examples_once():
    noisy = Wrapped(lambda m, x: m(x + 0.2 * torch.randn_like(x)), mlp())
    x, y = examples(40)
    runs = [eb.audit(Classifier(noisy, stochastic=True, repetitions=3), (x, y), Ball("linf", 0.01)) for _ in range(2)]
    assert runs[0].evidence.equals(runs[1].evidence)
    for row in runs[0].evidence.to_pylist():
        assert (row["verdict"] == "misclassified") == (row["natural.margin"] <= 0)
        assert not (row["verdict"] == "broken" and row["attack.distance"] == 0)


def test_one_invalid_example_alone_in_its_shard_is_one_invalid_example(monkeypatch):
    monkeypatch.setattr(sys.modules["epsball.auditing.audit"], "SHARD", 20)

    def spoilt(module, x):
        return torch.where(x[:, :1] == 1.0, torch.nan, module(x))

    x, _ = examples(21)
    x = x.clamp(0.2, 0.8)
    y = mlp()(x).argmax(1)
    x[20, 0] = 1.0
    audit = eb.audit(Classifier(Wrapped(spoilt, mlp())), (x, y), BALL)
    assert audit.evidence.column("verdict").to_pylist()[20] == "invalid"


def test_labels_and_inputs_are_named_by_their_place_in_the_data(monkeypatch):
    monkeypatch.setattr(sys.modules["epsball.auditing.audit"], "SHARD", 20)
    classifier, x, y = case()
    y = y.clone()
    y[45] = 7
    with pytest.raises(InputError, match="label 7 at index 45"):
        eb.audit(classifier, (x, y), BALL)
    assert classifier.passes.backward == 0
    y[45], x[50, 0] = 0, 1.5
    with pytest.raises(InputError, match="max 1.5"):
        eb.audit(classifier, (x, y), BALL)


def test_runs_that_differ_in_what_decides_them_are_told_apart(tmp_path):
    _, x, y = case()

    def run(name, *, net=None, method=None, **options):
        return eb.audit(Classifier(net or mlp(), **options), (x, y), BALL, attack=method, folder=tmp_path / name)

    def scaled(scale):
        return lambda logits, labels: scale * eb.attacks.losses.cross_entropy(logits, labels)

    run("loss", method=PGD(steps=2, loss=scaled(1.0)))
    run("loss", method=PGD(steps=2, loss=scaled(1.0)))
    with pytest.raises(InputError, match="links: there"):
        run("loss", method=PGD(steps=2, loss=scaled(2.0)))
    run("start", method=PGD(steps=2, start=x))
    with pytest.raises(InputError, match="links: there"):
        run("start", method=PGD(steps=2, start=x.flip(0)))
    run("noise", stochastic=True, repetitions=2)
    with pytest.raises(InputError, match="stochastic: there 2, now 3"):
        run("noise", stochastic=True, repetitions=3)
    run("code", net=Wrapped(lambda m, x: m(x), mlp()))
    with pytest.raises(InputError, match="the model's code"):
        run("code", net=Wrapped(lambda m, x: -m(x), mlp()))


def test_nothing_broken_can_be_drawn():
    classifier, x, y = case()
    figure = eb.audit(classifier, (x, y), Ball("linf", "1e-9")).plot()
    assert figure.axes[0].texts[0].get_text() == "no broken example"


def test_with_a_folder_the_witnesses_stay_on_disk(tmp_path):
    classifier, x, y = case()
    audit = eb.audit(classifier, (x, y), BALL, folder=tmp_path)
    (tmp_path / "witnesses-00000.safetensors").unlink()
    with pytest.raises(InputError, match="shard 0"):
        _ = audit.witnesses


def test_the_right_end_is_the_limit_of_the_audited_examples(tmp_path):
    x = torch.tensor([[0.1], [0.3], [0.6], [0.9]], dtype=torch.float64).repeat(1, 16)
    y = torch.tensor([0, 1, 0, 1])
    module = mlp(classes=2).double()
    audit = eb.audit(Classifier(module), (x, y), Ball("linf", 0.125), folder=tmp_path)
    limit = audit.chain.limit
    assert limit.stored == pytest.approx(0.25)
    assert audit.chain.places["1 - optimal adversarial risk"].value == pytest.approx(0.75)
    assert audit.evidence.column("limit.hard").to_pylist() == ["either", "either", "safe", "safe"]
    low, high = audit.chain.avoidable_error
    assert low == pytest.approx(max(0.0, audit.chain.decomposition.robust.low - 0.25))
    assert high == pytest.approx(audit.chain.decomposition.robust.high - 0.25)
    assert "avoidable error" in str(audit)
    assert (tmp_path / "limit.arrow").exists()


def test_an_attack_that_does_nothing_is_told_what_it_missed():
    class Lazy(Attack):
        name = "lazy"

        def __call__(self, query, ball, *, keys):
            query.logits(query.x)

    class Right(torch.nn.Module):
        def forward(self, x):
            score = 10 * (x.mean(1, keepdim=True) - 0.2)
            return torch.cat([-score, score], 1)

    x = torch.tensor([[0.1], [0.3]]).repeat(1, 16)
    audit = eb.audit(Classifier(Right()), (x, torch.tensor([0, 1])), Ball("linf", 0.125), attack=Lazy())
    assert "missed at least one witness" in str(audit)
    assert "missed at least one witness" in audit.to_json()["missed witness"]


def test_without_a_limit_the_place_is_named_as_not_measured():
    classifier, x, y = case(20)
    assert "1 - optimal adversarial risk" in eb.audit(classifier, (x, y), BALL, limit=False).chain.not_measured
    one = eb.audit(classifier, (x, torch.zeros(20, dtype=torch.int64)), BALL)
    assert "1 - optimal adversarial risk" in one.chain.not_measured


def test_failures_are_no_sign_of_a_missed_witness():
    class Right(torch.nn.Module):
        def forward(self, x):
            score = 10 * (x.mean(1, keepdim=True) - 0.2)
            return torch.where(x[:, :1] == 0.3, torch.nan, torch.cat([-score, score], 1))

    x = torch.tensor([[0.1], [0.3]]).repeat(1, 16)
    audit = eb.audit(Classifier(Right()), (x, torch.tensor([0, 1])), Ball("linf", 0.125))
    assert audit.chain.verdicts["invalid"] == 1
    assert audit.chain.missed_witness is None


def test_functions_that_differ_in_a_constant_a_name_or_a_default_are_told_apart():
    from epsball.auditing.fingerprint import identity

    functions = [
        lambda z, y: 1.5 * z.sum(1),
        lambda z, y: -1.5 * z.sum(1),
        lambda z, y: 1.5 * z.mean(1),
        lambda z, y, k=1: 1.5 * z.sum(1),
        lambda z, y, k=2: 1.5 * z.sum(1),
    ]
    forms = [json.dumps({**identity(f), "function": ""}) for f in functions]
    assert len(set(forms)) == 5
    assert identity(functions[0]) == identity(functions[0])


def test_certificates_are_the_left_link_and_close_the_chain_from_below(tmp_path):
    classifier, x, y = case()
    ball = Ball("linf", 0.02)
    audit = eb.audit(classifier, (x, y), ball, attack=PGD(steps=20), folder=tmp_path / "run")
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
    assert sum(row["attack.whole"] for row in certified) == 5, "some of the certified get the whole attack"
    assert all(row["attack.whole"] for row in rows if row["verdict"] != "certified")
    files = sorted((tmp_path / "run" / "certificates").glob("*.json.gz"))
    assert len(files) >= len(certified)
    assert audit.chain.to_json()["without certificates because"] is None


def test_dear_methods_are_for_what_a_short_attack_leaves_standing():
    classifier, x, y = case()
    audit = eb.audit(classifier, (x, y), BALL, limit=False)
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
    asked = eb.audit(classifier, (x, y), BALL, certificates="crown", limit=False).evidence.to_pylist()
    assert all(row["certificate.crown.margin"] is not None for row in asked)


@pytest.mark.parametrize(
    ("count", "radius", "wrong"), [(1, 0.1, False), (12, 0, False), (12, 0.1, True), (4, 0.8, False)]
)
def test_the_smallest_audits_have_certificates_too(count, radius, wrong):
    x, _ = examples(count)
    y = (mlp()(x).argmax(1) + wrong) % 4
    audit = eb.audit(Classifier(mlp()), (x, y), Ball("linf", radius), limit=False)
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
    with pytest.raises(SoundnessError, match="certified to keep a margin of 9"):
        eb.audit(classifier, (x, y), BALL)


def test_a_network_without_certificates_is_audited_and_the_chain_says_why():
    class Unbounded(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = mlp()

        def forward(self, x):
            return self.inner(x).cumsum(1)

    x, _ = examples(20)
    classifier = Classifier(Unbounded())
    y = classifier.logits(x).argmax(1)
    audit = eb.audit(classifier, (x, y), BALL)
    assert "certificate.certified" not in audit.evidence.column_names
    assert "not measured (" in str(audit)
    assert "cumsum" in str(audit.chain.uncertified)
    with pytest.raises(UnsupportedOperation, match="cumsum"):
        eb.audit(classifier, (x, y), BALL, certificates="crown")
    with pytest.raises(InputError, match="Did you mean 'crown'"):
        eb.audit(classifier, (x, y), BALL, certificates="crow")
