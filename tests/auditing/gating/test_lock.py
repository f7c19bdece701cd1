"""The lock: written for people, read strictly; a gate that asks for anything else is refused, naming both values."""

import dataclasses
import tomllib

import pytest

import epsball as eb
from auditing.gating.test_gate import BALL, half_plane
from epsball.attacks import PGD
from epsball.auditing.effort import EFFORTS
from epsball.auditing.gating import Lock
from epsball.cli import main
from epsball.errors import InputError


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setitem(EFFORTS, "quick", dataclasses.replace(EFFORTS["quick"], attack=PGD(steps=10)))


LOCK = Lock(
    epsball="0.1.0",
    ball="linf:8/255",
    effort="quick",
    alpha=0.05,
    seed=3,
    thresholds={"min_robust": "0.9", "min_certified": "1/3"},
    data={"examples": 100, "hash": "sha256:1"},
    model={"hash": "sha256:2"},
    environment={"torch": "2.9", "platform": "Linux x86_64", "device": "cpu", "dtype": "float32", "threads": 1},
)


def test_a_lock_reads_back_as_written_and_is_the_same_text_each_time(tmp_path):
    LOCK.write(tmp_path / "robustness.lock")
    text = (tmp_path / "robustness.lock").read_text()
    assert Lock.read(tmp_path / "robustness.lock") == LOCK
    assert text == LOCK.text()
    assert tomllib.loads(text)["schema"] == 1
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize(
    ("name", "other", "said"),
    [
        ("epsball", "9.9", "epsball is 0.1.0 there, 9.9 here (pip install 'epsball==0.1.0')"),
        ("ball", "l2:1", "ball is linf:8/255 there, l2:1 here (give ball='linf:8/255', or leave it out)"),
        ("effort", "full", "effort is quick there, full here"),
        ("alpha", 0.01, "alpha is 0.05 there, 0.01 here"),
        ("seed", 0, "seed is 3 there, 0 here"),
        ("thresholds", {"min_robust": "0.8", "min_certified": "1/3"}, "min_robust is 0.9 there, 0.8 here"),
        ("thresholds", {"min_robust": "0.9"}, "min_certified is 1/3 there, none here"),
        ("thresholds", {**LOCK.thresholds, "min_under_attack": "1"}, "min_under_attack is none there, 1 here (leave"),
        ("data", {"examples": 100, "hash": "sha256:9"}, "data hash is sha256:1 there, sha256:9 here (give the data"),
        ("data", {"examples": 99, "hash": "sha256:1"}, "data examples is 100 there, 99 here"),
    ],
)
def test_a_difference_is_refused_with_both_values_and_the_mend(name, other, said):
    now = dataclasses.replace(LOCK, **{name: other})
    with pytest.raises(InputError) as refused:
        LOCK.require(now, "robustness.lock", strict_environment=False)
    assert said in str(refused.value)
    assert "write the lock anew (write_lock=True)" in str(refused.value)


def test_another_environment_or_model_is_noted_and_refused_only_when_asked():
    elsewhere = dataclasses.replace(LOCK, environment={**LOCK.environment, "torch": "3.0"})
    (note,) = LOCK.require(elsewhere, "robustness.lock", strict_environment=False)
    assert "torch is 2.9 there, 3.0 here" in note
    with pytest.raises(InputError, match="torch is 2.9 there, 3.0 here"):
        LOCK.require(elsewhere, "robustness.lock", strict_environment=True)
    retrained = dataclasses.replace(LOCK, model={"hash": "sha256:3"})
    (note,) = LOCK.require(retrained, "robustness.lock", strict_environment=True)
    assert note.startswith("model: another")
    assert LOCK.require(LOCK, "robustness.lock", strict_environment=True) == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("schema = 1", "schema = 99"), "is a lock of schema 99; this version knows 1. Update epsball."),
        (("schema = 1", "version = 1"), "schema is None"),
        (("seed = 3", ""), "'seed' is missing"),
        (("seed = 3", "seed = true"), "'seed' in .* is True"),
        (("seed = 3", "seeds = 3"), "unknown entry 'seeds' in .* Did you mean 'seed'?"),
        (("alpha = 0.05", "alpha = 0.05.1"), "is not TOML: .*line 8"),
        (('min_robust = "0.9"', "min_robust = 0.9"), "'min_robust' in .* is 0.9; a threshold is a text"),
        (("min_robust", "min_robst"), "unknown threshold in .* 'min_robst'.* Did you mean 'min_robust'?"),
        (("[model]\n", "[model]\nhush = 1\n"), "unknown entry 'hush' of 'model'"),
    ],
)
def test_a_damaged_lock_is_refused_by_name(tmp_path, change, said):
    (tmp_path / "a.lock").write_text(LOCK.text().replace(*change))
    with pytest.raises(InputError, match=said):
        Lock.read(tmp_path / "a.lock")


def test_a_gate_takes_from_its_lock_what_is_not_given(tmp_path):
    classifier, x, y = half_plane(32, near=0.0)
    options = {"min_robust": "0.5", "alpha": 0.2, "seed": 4, "lock": tmp_path / "a.lock"}
    eb.gate(classifier, (x, y), BALL, **options, write_lock=True)
    found = eb.gate(classifier, (x, y), BALL, lock=tmp_path / "a.lock")
    assert (found.alpha, found.about["seed"], found.decisions[0].condition.name) == (0.2, 4, "min_robust")
    assert found.notes == ()
    with pytest.raises(InputError, match="min_robust is 0.5 there, 0.4 here"):
        eb.gate(classifier, (x, y), BALL, min_robust="0.4", lock=tmp_path / "a.lock")
    with pytest.raises(InputError, match="data hash"):
        eb.gate(classifier, (x, 1 - y), BALL, lock=tmp_path / "a.lock")


def test_a_lock_that_is_not_there_is_refused(tmp_path):
    classifier, x, y = half_plane(16)
    with pytest.raises(InputError, match=r"a\.lock cannot be read"):
        eb.gate(classifier, (x, y), BALL, min_robust="0.5", lock=tmp_path / "a.lock")
    with pytest.raises(InputError, match="strict_environment is given, but there is no lock"):
        eb.gate(classifier, (x, y), BALL, min_robust="0.5", strict_environment=True)


def test_the_command_line_writes_compares_and_refuses(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["gate", "mlp,hidden=8", "digits,first=32"]
    asked = ["--ball", "linf:0.01", "--min-certified", "0.001"]
    assert main(command) == 2
    assert "--ball is missing" in capsys.readouterr().err
    answer = main([*command, *asked, "--write-lock"])
    assert "written: robustness.lock" in capsys.readouterr().out
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert main(command) == answer
    assert f"note: lock: {tmp_path / 'robustness.lock'}" in capsys.readouterr().err
    assert main([*command, "--seed", "1"]) == 2
    assert "seed is 0 there, 1 here (give --seed 0, or leave it out)" in capsys.readouterr().err
    assert main([*command, "--lock", "elsewhere.lock"]) == 2
    assert main([command[0], "mlp,hidden=4", command[2], "--json"]) in (0, 10)
    assert "judged in an order of its own" in capsys.readouterr().out
