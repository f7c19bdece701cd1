"""Several balls: one run each, with the verdicts of runs alone; what is taken over is named, checked and resumed."""

import json
import shutil

import pytest
import torch

import epsball as eb
from auditing.cases import case
from epsball.auditing.series import bisected, distinct
from epsball.auditing.series.figure import radii_figure
from epsball.cli import main
from epsball.errors import InputError

RADII = ("0.02", "0.04", "0.08")
OPTIONS = {"attack": "pgd,steps=5", "limit": False, "diagnosis": False}
BALLS = [eb.Ball("linf", radius) for radius in RADII]


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """Return a folder of three runs, the audits, and what they are about."""
    classifier, x, y = case(30)
    folder = tmp_path_factory.mktemp("series") / "runs"
    return folder, eb.audit(classifier, (x, y), BALLS, folder=folder, **OPTIONS), classifier, (x, y)


def verdicts(audit):
    return audit.evidence["verdict"].to_pylist()


def failed(found):
    return {finding.check for finding in found.findings if finding.holds is False}


def test_verdicts_are_at_least_those_of_runs_alone(series):
    _, found, classifier, data = series
    for audit in found.audits:
        alone = verdicts(eb.audit(classifier, data, audit.ball, **OPTIONS))
        decided = [(a, b) for a, b in zip(alone, verdicts(audit), strict=True) if a != "undecided"]
        assert all(a == b for a, b in decided)


@pytest.mark.slow
def test_certificates_by_branch_and_bound_hold_within_smaller_balls(tmp_path):
    torch.manual_seed(3)
    layers = [torch.nn.Linear(4, 24), torch.nn.ReLU(), torch.nn.Linear(24, 24), torch.nn.ReLU(), torch.nn.Linear(24, 3)]
    classifier = eb.Classifier(torch.nn.Sequential(*layers).eval())
    x = torch.rand(40, 4)[[2, 25]]
    balls = [eb.Ball("linf", radius) for radius in ("0.05", "0.06")]
    options = {**OPTIONS, "effort": "standard"}
    found = eb.audit(classifier, (x, classifier(x).argmax(dim=1)), balls, folder=tmp_path / "runs", **options)
    smaller, larger = (audit.evidence.to_pylist() for audit in found.audits)
    assert {row["certificate.method"] for row in larger} == {"complete"}
    for row in smaller:
        assert row["taken.method"] == row["certificate.method"] == "complete"
        assert row["taken.certificate"].startswith("../linf-0.06/")
        assert row["certificate.passes"] == 0
        assert row["branching.ending"] is None
    pytest.importorskip("flint")
    assert failed(eb.verify_run(tmp_path / "runs")) == set()


def test_what_is_taken_over_names_its_file_and_costs_one_pass(series):
    _, found, *_ = series
    last, first = found.audits[2].evidence, found.audits[0].evidence
    broken = [row for row in last.to_pylist() if row["taken.broken"]]
    assert broken
    assert {row["taken.witness"] for row in broken} <= {
        "../linf-0.04/witnesses-00000.safetensors",
        "../linf-0.02/witnesses-00000.safetensors",
    }
    assert all(row["attack.forwards"] == row["attack.backwards"] == 0 and row["attack.broken"] for row in broken)
    stable = [row for row in first.to_pylist() if row["taken.stable"]]
    assert stable
    assert all(row["taken.certificate"].startswith("../linf-0.0") for row in stable)
    assert all(row["certificate.passes"] == 0 and row["verdict"] != "undecided" for row in stable)
    assert set(last["taken.natural"].to_pylist()) == {"../linf-0.04/evidence-00000.arrow"}


def test_the_folder_of_runs_is_verified(series):
    pytest.importorskip("flint")
    folder, found, classifier, data = series
    checked = eb.verify_run(folder, classifier, data, manifest=found.manifest)
    assert failed(checked) == set()
    assert {"linf-0.02: taken over", "linf-0.08: taken over", "runs", "manifest"} <= {f.check for f in checked.findings}


def test_what_is_missing_or_changed_elsewhere_is_found(series, tmp_path):
    pytest.importorskip("flint")
    folder, *_ = series
    copied = shutil.copytree(folder, tmp_path / "runs")
    shutil.rmtree(copied / "linf-0.04")
    found = eb.verify_run(copied)
    assert {"runs", "linf-0.02: taken over", "linf-0.02: certificates"} <= failed(found)
    copied = shutil.copytree(folder, tmp_path / "again")
    with (copied / "linf-0.04" / "ledger-00000.arrow").open("ab") as file:
        file.write(b"0")
    assert {"linf-0.04: files", "linf-0.02: taken over"} <= failed(eb.verify_run(copied))


def test_the_same_command_goes_on(series, tmp_path):
    folder, first, classifier, data = series
    copied = shutil.copytree(folder, tmp_path / "runs")
    (copied / "linf-0.08" / "evidence-00000.arrow").unlink()
    (copied / "runs.json").unlink()
    again = eb.audit(classifier, data, BALLS, folder=copied, **OPTIONS)
    assert again.manifest == first.manifest
    more = eb.audit(classifier, data, [*BALLS, eb.Ball("linf", "0.03")], folder=copied, **OPTIONS)
    assert [str(ball) for ball in more.balls] == ["linf:0.02", "linf:0.03", "linf:0.04", "linf:0.08"]
    assert more.audits[3].manifest == first.audits[2].manifest


def test_the_table_is_accuracy_against_radius(series):
    folder, found, *_ = series
    table = found.to_arrow().to_pylist()
    under = [row["value"] for row in table if row["place"] == "accuracy under attack"]
    certified = [row["value"] for row in table if row["place"] == "certified accuracy"]
    assert under == sorted(under, reverse=True)
    assert certified == sorted(certified, reverse=True)
    assert (folder / "radii.csv").read_text().replace('"', "").startswith("ball,radius,place")
    assert (folder / "radii.png").exists()
    (panel,) = radii_figure(found.audits).axes
    assert len(panel.containers) == 3
    assert "linf:0.04" in str(found)


def test_the_order_halves():
    assert [str(b.radius) for b in bisected(BALLS)] == [
        "1/25", "1/50", "2/25",
    ]  # fmt: skip
    mixed = [*BALLS, eb.Ball("l2", "0.5")]
    assert sorted(map(str, bisected(mixed))) == sorted(map(str, mixed))


def test_balls_that_do_not_belong_together_are_refused(series, tmp_path):
    _, _, classifier, data = series
    with pytest.raises(InputError, match="have other boxes"):
        distinct([BALLS[0], eb.Ball("linf", "0.1", low=-1, high=1)])
    with pytest.raises(InputError, match="no ball was given"):
        eb.audit(classifier, data, [])
    eb.audit(classifier, data, BALLS[0], folder=tmp_path / "one", certificates="none", **OPTIONS)
    with pytest.raises(InputError, match="holds one run"):
        eb.audit(classifier, data, BALLS, folder=tmp_path / "one", certificates="none", **OPTIONS)


def test_the_command_line_takes_radii(tmp_path, capsys):
    command = ["audit", "mlp,hidden=8", "digits,first=12", "--certificates", "none", "--attack", "fgsm", "--no-limit"]
    assert main([*command, "--ball", "linf", "--radii", "0.01,0.02", "--out", str(tmp_path / "r")]) == 0
    printed = capsys.readouterr().out
    assert "linf:0.01" in printed
    assert "manifest: sha256:" in printed.splitlines()[-1]
    assert set(json.loads((tmp_path / "r" / "runs.json").read_text())["runs"]) == {"linf-0.01", "linf-0.02"}
    assert main([*command, "--ball", "linf:0.01", "--ball", "l2:0.1"]) == 0
    assert "l2:0.1" in capsys.readouterr().out
    assert main([*command, "--ball", "linf"]) == 2
    assert "has no radius" in capsys.readouterr().err


@pytest.mark.slow
def test_workers_find_the_same_with_a_folder_and_without(series, tmp_path):
    *_, classifier, data = series
    options = {**OPTIONS, "shard_size": 16}
    alone = eb.audit(classifier, data, BALLS, folder=tmp_path / "alone", **options)
    shared = eb.audit(classifier, data, BALLS, folder=tmp_path / "shared", workers=2, **options)
    assert shared.manifest == alone.manifest
    unkept = eb.audit(classifier, data, BALLS[:2], workers=2, **options)
    here = eb.audit(classifier, data, BALLS[:2], **options)
    for one, other in zip(unkept.audits, here.audits, strict=True):
        assert one.evidence.equals(other.evidence)
        assert one.witnesses.x_adv.equal(other.witnesses.x_adv)
