"""Exporting runs: every value points at its evidence, and without that evidence it is not measured."""

import csv
import fnmatch
import io
import json
import shutil
from importlib import import_module

import pyarrow as pa
import pytest

import epsball as eb
from auditing.cases import case
from epsball.auditing.exporting.export import FORMS
from epsball.auditing.manifest import NAME, run_files, write_manifest
from epsball.cli import main
from epsball.errors import InputError
from epsball.results import arrow_bytes

GIVEN = {"system": "a | network", "system_version": "2.1", "tester": "N. N."}
NO_FIELD = ("chain", "points-", "shown", "limit.json")
"""Files of a run that no field stands on: sums of others, and what is kept for readers and for the next audit."""

WORDS = ["--system", "a network", "--system-version", "2.1", "--tester", "N. N."]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the audit of a run in two shards with broken, certified, diagnosed and misclassified examples."""
    classifier, x, y = case(24)
    folder = tmp_path_factory.mktemp("run") / "audit"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_module("epsball.auditing.audit"), "SHARD", 15)
        ball = eb.Ball("linf", 0.02)
        audit = eb.audit(classifier, (x, y), ball, attack="pgd,steps=5", diagnosis=True, folder=folder)
    assert min(audit.chain.verdicts[name] for name in ("broken", "certified", "misclassified")) > 0
    return audit


@pytest.fixture
def copied(run, tmp_path):
    return shutil.copytree(run.folder, tmp_path / "copy")


def filled(found):
    return {name: field for name, field in found.fields.items() if field.value is not None and not field.given}


def test_the_numbers_are_those_of_the_chain(run):
    fields = eb.export(run).fields
    for place, bound in run.chain.places.items():
        assert fields[place].value.value == pytest.approx(bound.value)
        assert fields[place].value.interval == bound.interval
    low, high = run.chain.robust_accuracy
    assert fields["robust accuracy"].value.value == pytest.approx(low)
    assert f"{high:.4f}" in fields["robust accuracy"].value.note
    assert fields["boundary risk"].value.value == pytest.approx(run.chain.decomposition.boundary.low)
    assert fields["undecided"].value.count == run.chain.verdicts.get("undecided", 0)
    assert fields["witnesses"].value.value == run.chain.verdicts["broken"]
    assert run.chain.diagnosis.verdict in fields["diagnosis"].text
    assert fields["manifest"].value.value == run.manifest


def test_every_value_points_at_files_of_the_run_and_nothing_is_a_bare_pass(run):
    found = eb.export(run)
    times = {path.name for path in run.folder.glob("timing-*")}
    names = {"certificates/*", NAME, *run_files(run.folder), *times}
    for field in filled(found).values():
        assert field.evidence
        assert all(pointer.file in names and pointer.sha256.startswith("sha256:") for pointer in field.evidence)
        assert all(pointer.rows is not None or pointer.at is not None for pointer in field.evidence)
    for field in found.fields.values():
        assert field.text.lower() not in ("pass", "passed", "passes", "ok", "yes", "true", "robust", "safe")
        assert field.value is not None or field.missing
    assert {"relevance", "training-data poisoning", "confidentiality"} <= set(found.not_measured)


def test_deleting_or_changing_any_piece_of_evidence_turns_every_field_that_stands_on_it(run, copied):
    before = filled(eb.export(run))
    files = [file for file in run_files(copied) if not file.startswith("certificates/")]
    files += [file for file in run_files(copied) if file.startswith("certificates/")][:: max(1, len(files) // 3)]
    for file in files:
        content = (copied / file).read_bytes()
        for spoil in (lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[::-1])):
            spoil(copied / file)
            after = filled(eb.export(copied))
            on_it = {n for n, field in before.items() if any(fnmatch.fnmatch(file, p.file) for p in field.evidence)}
            assert set(before) - set(after) == on_it, file
            assert on_it or file.startswith(NO_FIELD), file
            (copied / file).write_bytes(content)


def test_what_stands_on_what(run):
    fields = eb.export(run).fields
    on = {name: {pointer.file.split("-")[0] for pointer in fields[name].evidence} for name in fields}
    assert {"evidence", "witnesses", "diagnosis.arrow"} <= on["accuracy under attack"]
    assert {"evidence", "certificates/*"} <= on["certified accuracy"]
    assert on["natural accuracy"] == {"evidence"}
    assert on["passes"] == {"ledger"}
    assert {"limit.arrow", "chain.json"} == on["1 - optimal adversarial risk"]


def test_without_the_manifest_nothing_is_measured(copied):
    (copied / NAME).unlink()
    assert not filled(eb.export(copied))


def test_a_file_that_was_added_is_no_evidence(copied):
    shutil.copy(copied / "evidence-00000.arrow", copied / "evidence-00002.arrow")
    assert "natural accuracy" in eb.export(copied).not_measured


def test_a_broken_example_without_its_witness_counts_for_nothing_though_all_hashes_hold(copied):
    file = copied / "evidence-00000.arrow"
    table = pa.ipc.open_file(file.read_bytes()).read_all()
    broken = pa.array([True] * len(table))
    place = table.column_names.index("attack.broken")
    file.write_bytes(arrow_bytes(table.set_column(place, "attack.broken", broken)))
    write_manifest(copied)
    field = eb.export(copied).fields["accuracy under attack"]
    assert field.text == "not measured"
    assert "no witness" in field.missing


def test_a_run_without_certificates_and_diagnosis_says_so(tmp_path):
    classifier, x, y = case(20)
    options = {"attack": "square,queries=50", "certificates": "none", "limit": False, "folder": tmp_path / "run"}
    found = eb.export(eb.audit(classifier, (x, y), eb.Ball("linf", 0.02), **options), form="iso24029", **GIVEN)
    missing = {"certified accuracy", "completeness", "arithmetic", "diagnosis", "1 - optimal adversarial risk"}
    assert missing <= set(found.not_measured)
    assert found.fields["attacker's knowledge"].text == "closed-box"
    assert found.fields["undecided"].value is not None


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_written_and_names_the_evidence_of_all_it_says(run, form, tmp_path, capsys):
    out = tmp_path / "record"
    assert main(["export", str(run.folder), "--as", form, *WORDS, "--out", str(out)]) == 0
    assert "not measured" in capsys.readouterr().out
    text = out.read_text()
    assert "evidence-00000.arrow" in text
    assert str(run.folder) not in text
    if FORMS[form].sections:
        document = json.loads(text)
        for field in (field for clause in document["clauses"] for field in clause["fields"]):
            assert {"evidence", "given by", "because"} & set(field)
        assert main(["export", str(run.folder), "--as", form, *WORDS, "--out", str(tmp_path / "r.md")]) == 0
        assert all(clause["title"] in (tmp_path / "r.md").read_text() for clause in document["clauses"])


@pytest.mark.parametrize("form", ["iso24029", "aiact15", "modelcard"])
def test_what_is_missing_is_named(run, form, capsys):
    with pytest.raises(InputError, match="system='TEXT'"):
        eb.export(run, form=form)
    assert main(["export", str(run.folder), "--as", form, "--system", "a"]) == (0 if form == "modelcard" else 2)
    said = capsys.readouterr().err
    assert form == "modelcard" or ("--system-version TEXT, --tester TEXT" in said and "--system TEXT" not in said)


def test_the_card_is_read_by_hugging_faces_parser(run):
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard(eb.export(run, form="modelcard", system="a | net: 'x'\n---\nfoo").text)
    results = {result.metric_type: result for result in card.data.eval_results}
    assert results["accuracy"].metric_value == pytest.approx(run.chain.places["natural accuracy"].value)
    assert results["certified_accuracy"].metric_args["count"] == run.chain.verdicts["certified"]
    assert any("witnesses-00000" in place for place in results["adversarial_accuracy"].metric_args["evidence"])
    assert results["accuracy"].dataset_revision.startswith("sha256:")
    again = hub.ModelCard(str(card))
    assert again.data.to_dict() == card.data.to_dict()


def test_a_number_that_is_not_measured_is_not_in_the_index_of_the_card(copied):
    hub = pytest.importorskip("huggingface_hub")
    next(copied.glob("witnesses-*")).unlink()
    card = hub.ModelCard(eb.export(copied, form="modelcard", system="net").text)
    assert {result.metric_type for result in card.data.eval_results} == {"accuracy", "certified_accuracy"}
    assert "| accuracy under attack | not measured | witnesses-00000.safetensors is missing |" in card.text


def test_the_table_has_one_row_per_field_with_floats_in_full(run):
    found = eb.export(run, form="csv")
    rows = {row["field"]: row for row in csv.DictReader(io.StringIO(found.text))}
    assert set(rows) == set(found.fields)
    assert float(rows["natural accuracy"]["low"]) == run.chain.places["natural accuracy"].interval.low
    assert found.to_arrow().num_rows == len(rows)


def test_what_is_no_finished_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not hold a run"):
        eb.export(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(InputError, match="not finished"):
        eb.export(tmp_path)
    classifier, x, y = case(10)
    options = {"attack": "fgsm", "certificates": "none", "limit": False}
    with pytest.raises(InputError, match="without a folder"):
        eb.export(eb.audit(classifier, (x, y), eb.Ball("linf", 0.02), **options))
