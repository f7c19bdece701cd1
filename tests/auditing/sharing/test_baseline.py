"""A baseline: its points are tried first, named, and counted; another one, or other data, is refused."""

import shutil

import pytest
import torch

import epsball as eb
from auditing.cases import case
from epsball.auditing.points import NearestPoints
from epsball.auditing.sharing import Source
from epsball.cli import main
from epsball.errors import InputError
from helpers import mlp

BALL = eb.Ball("linf", "0.05")
OPTIONS = {"attack": "pgd,steps=5", "limit": False, "diagnosis": False, "certificates": "none"}


def retrained():
    """Return a network near that of `case`."""
    network, draws = mlp(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=draws))
    return eb.Classifier(network)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return the baseline's folder, an audit against it, and one without."""
    folder = tmp_path_factory.mktemp("baseline")
    classifier, x, y = case(40)
    eb.audit(classifier, (x, y), BALL, folder=folder / "old", **OPTIONS)
    new = eb.audit(retrained(), (x, y), BALL, folder=folder / "new", baseline=folder / "old", **OPTIONS)
    return folder, new, eb.audit(retrained(), (x, y), BALL, **OPTIONS), (x, y)


def test_what_the_baseline_breaks_is_named_and_not_searched(runs):
    folder, new, full, data = runs
    rows = [row for row in new.evidence.to_pylist() if row["taken.broken"]]
    assert rows
    assert {row["attack.by"] for row in rows} == {"baseline"}
    assert {row["taken.witness"] for row in rows} <= {
        "old/witnesses-00000.safetensors", "old/points-00000.safetensors",
    }  # fmt: skip
    assert all(row["attack.forwards"] == 0 for row in rows)
    tried = [row for row in new.ledger.to_pylist() if row["attack"] == "baseline" and row["restart"] == 0]
    old = Source.read(folder / "old")
    rows = new.evidence.to_pylist()
    both = [row for row in rows if row["natural.correct"] and old.row(row["index"])["natural.correct"]]
    assert {row["index"] for row in tried} == {row["index"] for row in both}
    assert {row["forwards"] for row in tried} == {1}
    broken = [audit.chain.verdicts["broken"] for audit in (new, full)]
    assert broken[0] >= broken[1]
    pytest.importorskip("flint")
    assert eb.verify_run(folder / "new", retrained(), data, manifest=new.manifest).holds


def test_newly_broken_examples_fall_to_points_where_the_baseline_stood(runs):
    folder, new, *_ = runs
    stood = set(Source.read(folder / "old").standing.tolist())
    found = {row["index"] for row in new.evidence.to_pylist() if row["taken.broken"]} & stood
    files = {row["taken.witness"] for row in new.evidence.to_pylist() if row["index"] in found}
    assert files <= {"old/points-00000.safetensors"}


def test_a_baseline_of_other_data_or_another_ball_is_refused(runs):
    folder, _, _, (x, y) = runs
    with pytest.raises(InputError, match="is of other data"):
        eb.audit(retrained(), (x.flip(0), y), BALL, baseline=folder / "old", **OPTIONS)
    with pytest.raises(InputError, match="is within linf:0.05, not linf:0.1"):
        eb.audit(retrained(), (x, y), eb.Ball("linf", "0.1"), baseline=folder / "old", **OPTIONS)
    with pytest.raises(InputError, match="does not hold a run"):
        eb.audit(retrained(), (x, y), BALL, baseline=folder, **OPTIONS)
    with pytest.raises(InputError, match="links.taken: there TakenLink.*now none"):
        eb.audit(retrained(), (x, y), BALL, folder=folder / "new", **OPTIONS)


@pytest.mark.parametrize("kind", ["witnesses", "points", "evidence"])
def test_a_damaged_baseline_is_refused_by_its_file(kind, runs, tmp_path):
    folder, _, _, data = runs
    copied = shutil.copytree(folder / "old", tmp_path / "old")
    next(copied.glob(f"{kind}-*")).write_bytes(b"damaged")
    with pytest.raises(InputError, match=rf"{kind}-00000\.\w+ cannot be read .* run that audit again"):
        eb.audit(retrained(), data, BALL, baseline=copied, **OPTIONS)


def test_points_are_steps_of_eight_bits():
    x, x_adv = torch.rand(3, 1, 4, 4), torch.rand(3, 1, 4, 4)
    x_adv[1] = x[1]
    found = NearestPoints.of(torch.arange(3), x, x_adv)
    again = found.at(torch.arange(3), x)
    assert float((again - x_adv).abs().max()) <= float(found.scale.max()) / 2 + 1e-6
    assert torch.equal(again[1], x[1])


def test_the_gate_counts_what_is_newly_broken(runs):
    folder, new, _, data = runs
    stood = set(Source.read(folder / "old").standing.tolist())
    lost = [row["index"] in stood and row["verdict"] != "undecided" for row in new.evidence.to_pylist()]
    options = {"baseline": folder / "old", "min_under_attack": "0.01"}
    classifier = retrained()
    found = eb.gate(classifier, data, BALL, max_newly_broken=40, **options)
    assert {d.condition.name: d.answer for d in found.decisions}["max_newly_broken"] != "fail"
    few = eb.gate(classifier, data, BALL, baseline=folder / "old", max_newly_broken=max(0, sum(lost) - 3))
    assert sum(lost) > 3
    assert few.answer == "fail"
    assert "at most" in str(few)


def test_a_gate_without_its_baseline_is_refused(runs):
    folder, _, _, data = runs
    with pytest.raises(InputError, match="without a baseline"):
        eb.gate(retrained(), data, BALL, max_newly_broken=3)
    with pytest.raises(InputError, match="but not max_newly_broken"):
        eb.gate(retrained(), data, BALL, baseline=folder / "old", min_robust="0.5")
    with pytest.raises(InputError, match="a whole number of examples"):
        eb.gate(retrained(), data, BALL, baseline=folder / "old", max_newly_broken="0.5")


def test_the_command_line(tmp_path, capsys):
    common = ["mlp,hidden=8", "digits,first=16", "--ball", "linf:0.02"]
    plain = [*common, "--certificates", "none", "--attack", "fgsm", "--no-limit", "--out"]
    assert main(["audit", *plain, str(tmp_path / "a")]) == 0
    assert main(["audit", *plain, str(tmp_path / "b"), "--baseline", str(tmp_path / "a"), "--seed", "1"]) == 0
    capsys.readouterr()
    assert main(["gate", *common, "--baseline", str(tmp_path / "a"), "--max-newly-broken", "16"]) in (0, 10)
    assert "max newly broken" in capsys.readouterr().out
