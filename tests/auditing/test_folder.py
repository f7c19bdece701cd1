import json
from importlib import import_module

import pytest
import torch
from safetensors.torch import load_file

import epsball as eb
from auditing.cases import ATTACK, BALL, BARE, case
from epsball import Ball, Classifier, InputError
from helpers import mlp


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a function that audits into one folder, the classifier, and the first audit, in three shards."""
    folder = tmp_path_factory.mktemp("audits") / "run"
    classifier, x, y = case(30)

    def again(**options):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(import_module("epsball.auditing.audit"), "SHARD", 10)
            return eb.audit(classifier, (x, y), BALL, attack=ATTACK, **{"folder": folder, **options})

    return again, classifier, again()


def test_the_folder_holds_the_run_and_a_killed_run_resumes(run):
    again, classifier, done = run
    assert json.loads((done.folder / "chain.json").read_text())["total"] == 30
    assert (done.folder / "witnesses.png").stat().st_size > 1000
    assert len(load_file(done.folder / "witnesses-00000.safetensors")["x_adv"]) > 0
    (done.folder / "evidence-00001.arrow").unlink()
    first, before = classifier.passes.forward, classifier.passes.backward
    resumed = again()
    assert resumed.evidence.equals(done.evidence)
    assert torch.equal(resumed.witnesses.x_adv, done.witnesses.x_adv)
    assert 0 < classifier.passes.forward - first < first / 2
    assert 0 < classifier.passes.backward - before < before / 2


def test_an_audit_from_a_folder_equals_one_in_memory(run):
    again, _, written = run
    read, memory = again(), again(folder=None)
    assert written.evidence.equals(read.evidence)
    assert written.evidence.equals(memory.evidence)
    assert torch.equal(read.witnesses.x_adv, memory.witnesses.x_adv)


def test_another_run_does_not_resume_in_the_folder(tmp_path):
    classifier, x, y = case(20)
    folder = tmp_path / "run"
    eb.audit(classifier, (x, y), BALL, folder=folder, **BARE)
    with pytest.raises(InputError, match="ball: there 'linf:0.1', now 'linf:0.2'"):
        eb.audit(classifier, (x, y), Ball("linf", 0.2), folder=folder, **BARE)
    with pytest.raises(InputError, match="network: there"):
        eb.audit(Classifier(mlp(seed=1)), (x, y), BALL, folder=folder, **BARE)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        eb.audit(classifier, (x, y), BALL, folder=tmp_path / "other", **BARE)


def test_witnesses_stay_on_disk_and_a_truncated_shard_is_named(tmp_path):
    classifier, x, y = case(20)
    audit = eb.audit(classifier, (x, y), BALL, folder=tmp_path, **BARE)
    file = tmp_path / "witnesses-00000.safetensors"
    content = file.read_bytes()
    file.unlink()
    with pytest.raises(InputError, match="shard 0"):
        _ = audit.witnesses
    file.write_bytes(content[:50])
    with pytest.raises(InputError, match="shard 0 .* cannot be read"):
        eb.audit(classifier, (x, y), BALL, folder=tmp_path, **BARE)


@pytest.mark.parametrize("kind", ["evidence-00000.arrow", "ledger-00000.arrow", "witnesses-00000.safetensors"])
def test_a_bit_changed_in_a_finished_shard_is_named_when_the_run_goes_on(kind, tmp_path):
    classifier, x, y = case(20)
    eb.audit(classifier, (x, y), BALL, folder=tmp_path, **BARE)
    content = bytearray((tmp_path / kind).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / kind).write_bytes(content)
    with pytest.raises(InputError, match=f"shard 0 .*{kind} is not what was written"):
        eb.audit(classifier, (x, y), BALL, folder=tmp_path, **BARE)
    (tmp_path / "evidence-00000.arrow").unlink()
    assert eb.audit(classifier, (x, y), BALL, folder=tmp_path, **BARE).chain.total == 20
