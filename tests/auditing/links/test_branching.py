"""Branch and bound in the audit: what the cascade and the attack leave open is closed, or a witness is found."""

import json
import shutil

import pytest
import torch
from torch import nn

import epsball as eb
from epsball.auditing.links import BranchingLink
from epsball.errors import InputError, UnsupportedOperation

BALL = eb.Ball("linf", "1/10")
OPTIONS = {"limit": False, "diagnosis": False}


def subject(last: nn.Module | None = None):
    """Return a classifier of 16 inputs, and 14 points with its own predictions: some robust, some not."""
    torch.manual_seed(3)
    layers = [nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)]
    classifier = eb.Classifier(nn.Sequential(*layers, *([] if last is None else [last])))
    x = torch.rand(14, 1, 4, 4)
    return classifier, (x, classifier.logits(x).argmax(dim=1))


@pytest.fixture(scope="module")
def audits(tmp_path_factory):
    """Return audits by a weak attack, without branch and bound and with it."""
    classifier, data = subject()
    folder = tmp_path_factory.mktemp("branching") / "run"
    options = {"attack": "fgsm", "effort": "standard", **OPTIONS}
    without = eb.audit(classifier, data, BALL, branching=0, **options)
    return without, eb.audit(classifier, data, BALL, branching=20_000, folder=folder, **options)


def column(audit, name):
    return audit.evidence[name].to_pylist()


def test_what_was_open_is_closed_and_nothing_else_changes(audits):
    without, found = audits
    before, after = column(without, "verdict"), column(found, "verdict")
    assert "undecided" in before
    assert "undecided" not in after
    assert all(old == new for old, new in zip(before, after, strict=True) if old != "undecided")
    endings = column(found, "branching.ending")
    assert all((old == "undecided") == (ending is not None) for old, ending in zip(before, endings, strict=True))
    assert set(column(without, "certificate.method")) <= {None, "interval", "crown-ibp", "crown", "optimised"}
    assert "branching.ending" not in without.evidence.column_names


def test_a_witness_that_it_finds_is_verified_and_named(audits):
    _, found = audits
    by, verdict = column(found, "attack.by"), column(found, "verdict")
    rows = [row for row, name in enumerate(by) if name == "complete"]
    assert rows
    assert all(verdict[row] == "broken" for row in rows)
    witnesses = found.shards[0].witnesses()
    classifier, (_, y) = subject()
    for index, x, x_adv in zip(witnesses.index.tolist(), witnesses.x, witnesses.x_adv, strict=True):
        assert bool(BALL.contains(x_adv.unsqueeze(0), x.unsqueeze(0)).all())
        assert int(classifier.logits(x_adv.unsqueeze(0)).argmax()) != int(y[index])
    assert {row for row, value in enumerate(column(found, "attack.broken")) if value} >= set(rows)


def test_the_run_is_verified_and_goes_on(audits, tmp_path):
    pytest.importorskip("flint")
    _, found = audits
    classifier, data = subject()
    checked = eb.verify_run(found.folder, classifier, data)
    assert checked.holds, str(checked)
    copy = tmp_path / "run"
    shutil.copytree(found.folder, copy)
    for name in ("evidence-00000.arrow", "chain.json", "manifest.json"):
        (copy / name).unlink()
    again = eb.audit(classifier, data, BALL, attack="fgsm", effort="standard", branching=20_000, folder=copy, **OPTIONS)
    assert again.evidence.equals(found.evidence)


def test_a_run_that_was_begun_without_it_goes_on_without_it(tmp_path):
    classifier, data = subject()
    options = {"attack": "fgsm", "effort": "standard", "folder": tmp_path / "run", **OPTIONS}
    eb.audit(classifier, data, BALL, branching=0, **options)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert BranchingLink.name not in record["identity"]["links"]
    found = eb.audit(classifier, data, BALL, **options)
    assert "branching.ending" not in found.evidence.column_names
    assert any("the run in this folder began without it" in note for note in found.chain.notes)
    assert not eb.audit(classifier, data, BALL, branching=0, **options).chain.notes
    with pytest.raises(InputError, match="another run"):
        eb.audit(classifier, data, BALL, branching=1000, **options)


def test_quick_has_none_and_a_smooth_network_has_some():
    classifier, data = subject()
    quick = eb.audit(classifier, data, BALL, attack="fgsm", **OPTIONS)
    assert "branching.ending" not in quick.evidence.column_names
    smooth, data = subject(nn.Sigmoid())
    found = eb.audit(smooth, data, BALL, attack="fgsm", effort="standard", **OPTIONS)
    assert "branching.ending" in found.evidence.column_names
    assert not any("branch and bound" in note for note in found.chain.notes)


def test_a_network_that_cannot_be_searched_is_left_out_with_a_note(monkeypatch, tmp_path):
    classifier, data = subject()
    monkeypatch.setattr(BranchingLink, "refusal", lambda *_: "node 'sort' has no rule")
    found = eb.audit(classifier, data, BALL, attack="fgsm", effort="standard", folder=tmp_path / "run", **OPTIONS)
    assert "branching.ending" not in found.evidence.column_names
    assert "branch and bound was left out: node 'sort' has no rule" in found.chain.notes
    assert "branch and bound was left out" in str(found)
    assert "branch and bound was left out" in (tmp_path / "run" / "chain.json").read_text()
    with pytest.raises(UnsupportedOperation, match="has no rule"):
        eb.audit(classifier, data, BALL, attack="fgsm", branching=1000, **OPTIONS)


@pytest.mark.parametrize(
    ("option", "message"),
    [({"branching": -1}, "branching is -1"), ({"branching": 5, "certificates": "crown"}, "follows 'auto'")],
)
def test_bad_options_are_refused(option, message):
    classifier, data = subject()
    with pytest.raises(InputError, match=message):
        eb.audit(classifier, data, BALL, attack="fgsm", **option)
