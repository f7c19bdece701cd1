"""Workers on Ray, where Ray is installed: the same outcomes, and tries, as with processes."""

import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

import epsball as eb
from epsball import workers
from epsball.errors import MissingExtra
from epsball.workers import Workers
from workers.duties import Duty

TESTS = Path(__file__).parents[1]


def test_without_ray_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match="cluster"):
        list(workers.run(Duty(), [1], Workers(count=1, ray="local"), what="squares"))


@pytest.fixture(scope="module")
def cluster():
    """Return a cluster of two nodes on this machine."""
    pytest.importorskip("ray", reason="Ray is not installed (extra cluster)")
    from ray.cluster_utils import Cluster

    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(TESTS), str(Path(eb.__file__).parents[1])])
    node = {"num_cpus": 1, "object_store_memory": 100_000_000}
    cluster = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
    cluster.add_node(**node)
    yield cluster
    cluster.shutdown()
    os.environ.pop("PYTHONPATH")
    if before is not None:
        os.environ["PYTHONPATH"] = before


def kill_a_worker():
    """Kill a worker of the cluster once it is at work."""
    while True:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if path.read_text().startswith("ray::_Worker.do"):
                    os.kill(int(path.parent.name), signal.SIGKILL)
                    return
            except OSError:
                continue
        time.sleep(0.005)


@pytest.mark.filterwarnings("ignore")
def test_the_driver_writes_the_same_folder_as_one_process_though_a_worker_is_killed(cluster, tmp_path, caplog):
    from auditing.test_shared import audited, content

    audited(tmp_path / "alone")
    killer = threading.Thread(target=kill_a_worker, daemon=True)
    killer.start()
    with caplog.at_level(logging.WARNING):
        audited(tmp_path / "ray", workers=Workers(count=2, ray=cluster.address))
    killer.join(5)
    assert content(tmp_path / "ray") == content(tmp_path / "alone")
    assert len(list((tmp_path / "ray").glob("timing-*"))) == 4
    assert "died" in caplog.text


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_every_task_is_done_and_an_actor_that_dies_is_replaced(cluster, tmp_path, caplog):
    duty, two = Duty(tmp_path, dies={3: 1, 5: 99}), Workers(count=2, ray=cluster.address)
    with caplog.at_level(logging.WARNING):
        found = {outcome.task: outcome for outcome in workers.run(duty, list(range(8)), two, what="squares")}
    assert {task for task, outcome in found.items() if outcome.result == task**2} == set(range(8)) - {5}
    assert (found[3].tries, found[5].tries) == (2, 3)
    assert "done again (try 2 of 3)" in caplog.text
    with pytest.raises(eb.InputError, match="bad luck"):
        list(workers.run(Duty(fails=7), list(range(8)), two, what="squares"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_node_that_is_killed_costs_its_tasks_one_try(cluster, tmp_path):
    node = cluster.add_node(num_cpus=1, object_store_memory=100_000_000)
    duty, three = Duty(tmp_path, seconds=0.5), Workers(count=3, ray=cluster.address)
    outcomes = workers.run(duty, list(range(12)), three, what="squares")
    found = [next(outcomes) for _ in range(3)]
    cluster.remove_node(node, allow_graceful=False)
    found += list(outcomes)
    assert {outcome.task: outcome.result for outcome in found} == {task: task**2 for task in range(12)}
