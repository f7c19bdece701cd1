"""`verify_batch`: results that survive being killed."""

import os
import signal
import subprocess
import sys
import time

import pytest

import epsball as eb
from epsball.errors import InputError
from epsball.verification import verify_batch
from verification.queries import absolute_value, between, query


@pytest.fixture
def instances(tmp_path):
    """Write three instances: sat, unsat and an error."""
    absolute_value(tmp_path / "net.onnx")
    query(tmp_path / "yes.vnnlib", 1, 1, between("-1", "1"), "(>= Y_0 1)")
    query(tmp_path / "no.vnnlib", 1, 1, between("-1", "1"), "(>= Y_0 1.5)")
    query(tmp_path / "bad.vnnlib", 1, 1, "(>= Y_0 1)")
    path = tmp_path / "small_instances.csv"
    path.write_text("net.onnx,yes.vnnlib,60\n./net.onnx,no.vnnlib,60.5\nnet.onnx,bad.vnnlib,60\n")
    return path


EXPECTED = [["small", "net.onnx", "yes.vnnlib", "sat"], ["small", "./net.onnx", "no.vnnlib", "unsat"]]
EXPECTED += [["small", "net.onnx", "bad.vnnlib", "error"]]


def lines(out):
    return [[row.split(",")[i] for i in (0, 1, 2, 4)] for row in out.read_text().splitlines()]


def test_every_instance_has_its_line_and_every_witness_its_file(instances, tmp_path):
    found = verify_batch(instances, tmp_path / "results.csv")
    assert lines(tmp_path / "results.csv") == EXPECTED
    assert found.counts == {"sat": 1, "unsat": 1, "error": 1}
    assert str(found).startswith("2 of 3 decided (1 error, 1 sat, 1 unsat)")
    (witness,) = (tmp_path / "results.witnesses").iterdir()
    assert witness.name == "0001.txt"
    assert witness.read_text().splitlines() in (
        ["sat", "((X_0 1.0)", " (Y_0 1.0))"],
        ["sat", "((X_0 -1.0)", " (Y_0 1.0))"],
    )
    assert found.to_arrow()["answer"].to_pylist() == ["sat", "unsat", "error"]
    assert found.to_json()["counts"] == {"sat": 1, "unsat": 1, "error": 1}


def test_a_second_call_goes_on_after_the_last_whole_line(instances, tmp_path, monkeypatch):
    out = tmp_path / "results.csv"
    verify_batch(instances, out)
    first = out.read_text().splitlines()
    out.write_text(f"{first[0]}\n{first[1][:12]}")
    calls = []
    real = eb.verification.batch.verify
    monkeypatch.setattr(eb.verification.batch, "verify", lambda *a, **o: calls.append(a[1].name) or real(*a, **o))
    verify_batch(instances, out)
    assert calls == ["no.vnnlib", "bad.vnnlib"]
    assert lines(out) == EXPECTED
    verify_batch(instances, out)
    assert len(calls) == 2


def test_results_of_other_instances_are_refused(instances, tmp_path):
    out = tmp_path / "results.csv"
    out.write_text("small,net.onnx,other.vnnlib,0,sat,1.0\n")
    with pytest.raises(InputError, match="line 1, is not the result of instance 1 of this list"):
        verify_batch(instances, out)


def test_an_interruption_carries_what_was_found(instances, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    verify_batch(instances, tmp_path / "results.csv")
    whole = (tmp_path / "results.csv").read_text().splitlines(keepends=True)
    (tmp_path / "results.csv").write_text(whole[0])
    monkeypatch.setattr(eb.verification.batch, "verify", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        verify_batch(instances, tmp_path / "results.csv")
    assert caught.value.partial.answers == ("sat", None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "lists no instances"), ("a,b\n", "line 1: 'a,b' is not NETWORK"), ("a,b,0\n", "line 1: 'a,b,0' is not")],
)
def test_malformed_lists_are_refused(tmp_path, text, message):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        verify_batch(tmp_path / "list.csv", tmp_path / "results.csv")


@pytest.mark.slow
def test_kill_9_loses_no_finished_instance(instances, tmp_path):
    out, text = tmp_path / "results.csv", instances.read_text()
    instances.write_text(text * 20)
    command = [sys.executable, "-m", "epsball", "verify", "--batch", str(instances), "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not out.exists() or out.read_text().count("\n") < 5:
        time.sleep(0.01)
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = out.read_text()
    kept = before[: before.rfind("\n") + 1]
    verify_batch(instances, out)
    assert out.read_text().startswith(kept)
    assert lines(out) == EXPECTED * 20


@pytest.mark.slow
def test_workers_give_the_same_lines_in_the_same_order(instances, tmp_path):
    found = verify_batch(instances, tmp_path / "results.csv", workers=2)
    assert lines(tmp_path / "results.csv") == EXPECTED
    assert found.counts == {"sat": 1, "unsat": 1, "error": 1}
    assert not (tmp_path / "results.csv.ahead").exists()
    assert (tmp_path / "results.witnesses" / "0001.txt").exists()


def test_answers_that_came_before_their_turn_are_not_lost_by_a_kill(instances, tmp_path, monkeypatch):
    out = tmp_path / "results.csv"
    (tmp_path / "results.csv.ahead").write_text("\n2,error,0.5\n\n1,unsat,1.25\n\n0,sa")
    calls = []
    real = eb.verification.batch.verify
    monkeypatch.setattr(eb.verification.batch, "verify", lambda *a, **o: calls.append(a[1].name) or real(*a, **o))
    verify_batch(instances, out)
    assert calls == ["yes.vnnlib"]
    assert lines(out) == EXPECTED
    assert out.read_text().splitlines()[1].endswith(",1.25")
    assert not (tmp_path / "results.csv.ahead").exists()
