"""What an attack finds out about gradients: in the chain, the evidence and the folder, also of a run that resumes."""

import json

import pytest
import torch

import epsball as eb
from auditing.cases import FAR, OPTIONS, detached
from epsball.auditing.evidence import notes_of
from epsball.auditing.parts import Parts
from epsball.interface import command_line

SAID = "surrogate gradients of detach"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a function that audits a network without gradient, in a folder, in two batches, and the folder."""
    classifier, x, y = detached()
    folder = tmp_path_factory.mktemp("notes") / "run"
    return lambda: eb.audit(classifier, (x, y), FAR, batch_size=30, diagnosis=False, folder=folder, **OPTIONS), folder


def test_operations_given_surrogates_are_named(run):
    audit, folder = run
    found = audit()
    assert SAID in found.chain.notes
    assert str(found).count(SAID) == 1
    assert json.loads((folder / "chain.json").read_text())["notes"] == list(found.chain.notes)
    assert set(found.evidence["attack.notes"].to_pylist()) <= {SAID, None}
    by = found.evidence["attack.by"].to_pylist()
    noted = found.evidence["attack.notes"].to_pylist()
    assert all(said == SAID for said, name in zip(noted, by, strict=True) if name and name.startswith("surrogate"))
    assert SAID in noted


def test_a_run_that_resumes_says_the_same(run):
    audit, folder = run
    found = audit()
    (folder / "evidence-00000.arrow").unlink()
    again = audit()
    assert again.chain.notes == found.chain.notes
    assert again.evidence.equals(found.evidence)


def test_a_batch_that_is_kept_keeps_its_notes(tmp_path):
    classifier, x, y = detached()
    result = eb.attack(classifier, x[:4], y[:4], FAR, method="ensemble")
    assert SAID in result.notes
    for _ in range(2):
        kept = Parts(tmp_path).attack("attack", torch.arange(4))(slice(0, 4), lambda: result)
        assert kept is not None
        assert kept.notes == result.notes


def test_an_attack_without_notes_leaves_the_evidence_as_it_was():
    network, x, y = detached()
    plain = eb.audit(network, (x, y), FAR, attack="square,queries=5", **OPTIONS)
    assert "attack.notes" not in plain.evidence.column_names
    assert notes_of(plain.evidence) == []


def test_the_hint_speaks_the_language_of_the_interface():
    classifier, x, y = detached()
    hint = "60 of 60 input gradients were exactly zero on standing examples (fgsm): robustness may be overstated"
    python = eb.audit(classifier, (x, y), FAR, attack="fgsm", **OPTIONS)
    assert f"{hint}; attack='adaptive' takes" in str(python)
    assert set(python.evidence["attack.gradients"].to_pylist()) == {"zero"}
    with command_line():
        assert f"{hint}; --attack adaptive takes" in str(eb.audit(classifier, (x, y), FAR, attack="fgsm", **OPTIONS))
