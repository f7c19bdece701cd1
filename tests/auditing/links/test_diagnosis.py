"""The diagnosis in an audit: its verdict and number in the chain, its witnesses in the evidence, what is kept."""

import json
from importlib import import_module

import pytest
import torch

import epsball as eb
from auditing.cases import BALL, COUNT, FAR, NEAR, OPTIONS, case, detached, linear_case
from epsball.attacks import Ledger
from epsball.auditing.evidence import VERDICTS
from epsball.auditing.folder import RunFolder
from epsball.auditing.links import DiagnosisLink
from epsball.auditing.subject import Subject
from epsball.interface import command_line


@pytest.fixture(scope="module")
def honest():
    """Return a plain network and its audit."""
    network, x, y = linear_case()
    classifier = eb.Classifier(network)
    return classifier, eb.audit(classifier, (x, y), NEAR, **OPTIONS)


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    """Return a network without gradient, its examples, and its audit by an attack that needs one, in a folder."""
    classifier, x, y = detached()
    folder = tmp_path_factory.mktemp("masked") / "run"
    return classifier, x, y, eb.audit(classifier, (x, y), FAR, attack="fgsm", diagnosis=True, folder=folder, **OPTIONS)


def test_the_chain_says_what_the_diagnosis_found(honest):
    _, audit = honest
    assert audit.chain.diagnosis.verdict == "sound"
    assert audit.chain.examined == COUNT
    assert "diagnosis: sound" in str(audit)
    assert audit.to_json()["diagnosis"]["verdict"] == "sound"
    assert set(audit.evidence["diagnosis.examined"].to_pylist()) == {True}
    assert audit.evidence["diagnosis.by"].null_count == audit.evidence["diagnosis.margin"].null_count == COUNT


def test_its_passes_are_in_the_ledger(honest):
    classifier, audit = honest
    rows = audit.ledger.to_pandas().set_index("attack").loc[["diagnosis"]]
    assert len(rows) == 1
    assert rows["index"].item() == -1
    diagnosis = audit.chain.diagnosis
    spent = rows["forwards"].item() + rows["backwards"].item()
    assert spent == diagnosis.passes - diagnosis.evaluation_passes
    table = audit.ledger.to_pandas()
    # Passes of networks with planted witnesses are not the classifier's own.
    assert table["forwards"].sum() >= classifier.passes.forward
    assert table["forwards"].sum() - spent < classifier.passes.forward


def test_it_is_left_out_where_that_is_asked_for_and_where_another_attack_is_named():
    classifier, x, y = case(20)
    plain = eb.audit(classifier, (x, y), BALL, attack="fgsm", **OPTIONS)
    assert plain.chain.diagnosis is None
    assert "diagnosis.broken" not in plain.evidence.column_names
    assert "diagnosis: not made (the attack is 'fgsm'; diagnosis=True runs" in str(plain)
    with command_line():
        assert "--diagnosis runs" in str(eb.audit(classifier, (x, y), BALL, attack="fgsm", **OPTIONS))
    left_out = eb.audit(classifier, (x, y), BALL, diagnosis=False, **OPTIONS)
    assert left_out.to_json()["without diagnosis because"] == "not asked for"


def test_its_number_enters_the_chain(masked):
    *_, audit = masked
    rows = audit.evidence.to_pylist()
    assert not any(row["attack.broken"] for row in rows if row["natural.correct"])
    further = [row for row in rows if row["diagnosis.broken"]]
    assert len(further) > 5
    assert all(row["verdict"] == "broken" and row["diagnosis.by"] and row["diagnosis.margin"] <= 0 for row in further)
    standing = sum(row["verdict"] == "undecided" for row in rows)
    chain = audit.chain
    assert chain.places["accuracy under attack"].value == pytest.approx(standing / COUNT)
    assert chain.decomposition.robust.low == pytest.approx(1 - standing / COUNT)
    assert chain.verdicts.get("undecided", 0) == standing
    assert chain.diagnosis.verdict == "masked"
    assert sum(chain.further.values()) == len(further)
    assert f"it broke {len(further)} examples that withstood the attack" in str(audit)


def test_what_it_breaks_has_witnesses(masked):
    classifier, x, y, audit = masked
    found = audit.witnesses
    assert found.index.tolist() == [row["index"] for row in audit.evidence.to_pylist() if row["verdict"] == "broken"]
    assert torch.equal(found.x, x[found.index])
    assert FAR.contains(found.x_adv, found.x).all()
    assert (classifier.logits(found.x_adv).argmax(1) != y[found.index]).all()


def test_the_folder_holds_it_and_a_second_call_reads_it(masked):
    classifier, x, y, audit = masked
    document = json.loads((audit.folder / "diagnosis.json").read_text())
    assert document["verdict"] == "masked"
    assert not (audit.folder / "parts-diagnosis").exists()
    files = {path: path.read_bytes() for path in audit.folder.iterdir()}
    before = classifier.passes.copy()
    again = eb.audit(classifier, (x, y), FAR, attack="fgsm", folder=audit.folder, **OPTIONS)
    assert (classifier.passes - before).forward < 100
    assert again.evidence.equals(audit.evidence)
    assert torch.equal(again.witnesses.x_adv, audit.witnesses.x_adv)
    assert str(again) == str(audit)
    assert files == {path: path.read_bytes() for path in audit.folder.iterdir()}


def test_a_finished_run_without_one_is_read_and_says_so(tmp_path):
    network, x, y = linear_case()
    arguments = (eb.Classifier(network), (x[:20], y[:20]), NEAR)
    options = {"attack": "fgsm", "folder": tmp_path, **OPTIONS}
    eb.audit(*arguments, diagnosis=False, **options)
    read = eb.audit(*arguments, **options)
    assert read.chain.diagnosis is None
    assert "was finished without one; diagnosis=True makes it" in str(read)
    assert eb.audit(*arguments, diagnosis=True, **options).chain.diagnosis is not None
    assert eb.audit(*arguments, **options).chain.diagnosis is not None


class _Interrupted:
    """Interrupts one of the searches of a diagnosis."""

    def __init__(self, monkeypatch):
        module = import_module("epsball.masking.trial")
        self._plain, self.calls, self.stop_at = module.search, 0, 0
        monkeypatch.setattr(module, "search", self)

    def __call__(self, *arguments):
        self.calls += 1
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        return self._plain(*arguments)


@pytest.mark.parametrize("stop_at", [3, 6])
def test_an_interruption_loses_one_search_and_the_run_ends_with_the_same_bytes(masked, tmp_path, monkeypatch, stop_at):
    classifier, x, y, whole = masked
    stopping = _Interrupted(monkeypatch)
    options = {"attack": "fgsm", "diagnosis": True, "folder": tmp_path / "run", "batch_size": None, **OPTIONS}
    stopping.stop_at = stop_at
    with pytest.raises(KeyboardInterrupt) as stop:
        eb.audit(classifier, (x, y), FAR, **options)
    partial = stop.value.partial
    assert partial.interrupted
    assert "diagnosis: not made (interrupted)" in str(partial)
    stopping.calls, stopping.stop_at = 0, 0
    again = eb.audit(classifier, (x, y), FAR, **options)
    assert again.evidence.equals(whole.evidence)
    names = sorted(path.name for path in whole.folder.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "run").iterdir())
    for name in names:
        if name not in ("chain.json", "witnesses.png", "about.json") and not name.startswith(("timing-", ".")):
            assert (whole.folder / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


def test_others_are_followed_up_where_the_verdict_is_masked(masked):
    classifier, x, y, whole = masked
    few = DiagnosisLink(method=eb.attacks.FGSM(), most=50)
    subject = Subject.of(classifier, eb.data.load((x, y)), FAR, 0)
    natural = eb.audit(classifier, (x, y), FAR, attack="fgsm", **OPTIONS).evidence
    found = few.on_run(subject, natural)
    examined = torch.tensor(found.columns["diagnosis.examined"])
    assert int(examined.sum()) == 50
    assert found.chain["diagnosis"].verdict == "masked"
    broken = torch.tensor(found.columns["diagnosis.broken"])
    assert broken.tolist() == whole.evidence["diagnosis.broken"].to_pylist()


def test_what_it_breaks_of_the_certified_raises_the_alarm(monkeypatch):
    classifier, x, y = detached()
    subject = Subject.of(classifier, eb.data.load((x, y)), FAR, 0)
    evidence = eb.audit(classifier, (x, y), FAR, attack="fgsm", **OPTIONS).evidence
    import pyarrow

    lie = {
        "certificate.margin": pyarrow.array([1.0] * COUNT),
        "certificate.semantics": pyarrow.array(["float32"] * COUNT),
    }
    for name, column in lie.items():
        evidence = evidence.append_column(name, column)
    link = DiagnosisLink(method=eb.attacks.FGSM())
    evidence = evidence.append_column("certificate.certified", pyarrow.array([True] * COUNT))
    # Certified examples are not tried at all.
    assert link.on_run(subject, evidence).witnesses is None
    monkeypatch.setattr(
        "epsball.masking.trial.Trial.standing", lambda trial, most=None: trial.rows(trial.unbroken, most)
    )
    with pytest.raises(eb.errors.SoundnessError, match="certified to keep a margin"):
        link.on_run(subject, evidence)


def test_names_that_are_stored():
    assert DiagnosisLink.name == "diagnosis"
    assert dict(DiagnosisLink.run_schema) == {
        "diagnosis.examined": "bool",
        "diagnosis.broken": "bool",
        "diagnosis.by": "string",
        "diagnosis.margin": "double",
    }
    assert not DiagnosisLink.schema
    assert "broken" in VERDICTS
    assert Ledger.overhead("diagnosis", 3).searching().tolist() == [False]


def test_a_document_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "run.json").write_text('{"identity": {}, "probe": []}')
    folder = RunFolder(tmp_path, {"identity": {}, "probe": []})
    (tmp_path / "diagnosis.json").write_text("{")
    with pytest.raises(eb.InputError, match="diagnosis.json cannot be read"):
        folder.document("diagnosis.json")


def test_a_model_that_cannot_be_examined_keeps_the_number_of_the_attack(monkeypatch):
    def failing(trial):
        raise eb.errors.ModelError("the model fails beyond the ball.")

    monkeypatch.setattr("epsball.auditing.examination.diagnosis_of", failing)
    network, x, y = linear_case()
    audit = eb.audit(eb.Classifier(network), (x[:20], y[:20]), NEAR, **OPTIONS)
    assert audit.chain.diagnosis is None
    assert "diagnosis: not made (the model fails beyond the ball.)" in str(audit)
    assert 0 < audit.chain.places["accuracy under attack"].value < 1
