"""Workers: every task is done once, a worker that dies is named, one that always dies is given up."""

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from epsball import progress, workers
from epsball.errors import InputError
from epsball.workers import Workers, WorkersError, as_workers
from workers.duties import Duty


def done(duty, tasks=range(8), count=2, **options):
    outcomes = list(workers.run(duty, list(tasks), Workers(count=count), what="squares done", **options))
    return {outcome.task: outcome for outcome in outcomes}


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_every_task_is_done_once_and_progress_is_that_of_all(tmp_path):
    told = []
    with progress.listening(lambda *report: told.append(report)):
        found = done(Duty(tmp_path), size=lambda task: 10, before=20)
    assert {task: outcome.result for task, outcome in found.items()} == {task: task**2 for task in range(8)}
    assert len(list(tmp_path.iterdir())) == 8
    assert [report[1:] for report in told if report[0] == "squares done"] == [(20 + 10 * k, 100) for k in range(9)]
    assert any(report[0].startswith(("worker 1, squares", "worker 2, squares")) for report in told)


def test_a_worker_that_dies_is_named_and_its_task_done_again_and_one_that_always_dies_is_given_up(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        found = done(Duty(tmp_path, dies={3: 1, 5: 99}), named=lambda task: f"number {task}")
    assert {task for task, outcome in found.items() if outcome.result == task**2} == set(range(8)) - {5}
    assert (found[3].tries, found[5].tries) == (2, 3)
    assert "SIGKILL" in found[5].lost
    assert "at number 3, which is done again (try 2 of 3)" in caplog.text
    assert "at number 5, which is given up after 3 tries" in caplog.text


def test_what_a_task_raises_is_raised_with_its_place_and_no_worker_is_left(tmp_path):
    with pytest.raises(InputError, match="bad luck") as failure:
        done(Duty(tmp_path, fails=7), named=lambda task: f"number {task}")
    assert any("number 7" in note for note in failure.value.__notes__)
    assert not any(alive(int(file.name.split("-")[2])) for file in tmp_path.iterdir())


def test_workers_that_cannot_start_and_duties_that_cannot_be_sent_are_named():
    with pytest.raises(WorkersError, match="before it was ready"):
        done(Duty(unready=True))
    with pytest.raises(InputError, match="cannot be sent"):
        done(lambda number: None)
    with pytest.raises(InputError, match="workers is 0"):
        as_workers(0)


@pytest.mark.slow
def test_workers_whose_parent_is_killed_end_by_themselves(tmp_path):
    code = (
        "from workers.duties import Duty; from epsball import workers\n"
        f"duty = Duty({str(tmp_path)!r}, seconds=.1)\n"
        "list(workers.run(duty, list(range(1000)), workers.Workers(count=2), what='squares'))"
    )
    tests = str(Path(__file__).parents[1])
    path = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])
    parent = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path})
    while len({file.name.split("-")[1] for file in tmp_path.iterdir()}) < 2:
        assert parent.poll() is None
        time.sleep(0.1)
    parent.kill()
    parent.wait()
    pids = {int(file.name.split("-")[2]) for file in tmp_path.iterdir()}
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.1)
