"""Workers on Ray, where Ray is installed: the same outcomes, and tries, as with processes."""

import logging
import os
import sys
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


@pytest.fixture
def ray(monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(Path(eb.__file__).parents[1])]))
    yield ray
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_every_task_is_done_and_an_actor_that_dies_is_replaced(ray, tmp_path, caplog):
    duty, two = Duty(tmp_path, dies={3: 1, 5: 99}), Workers(count=2, ray="local")
    with caplog.at_level(logging.WARNING):
        found = {outcome.task: outcome for outcome in workers.run(duty, list(range(8)), two, what="squares")}
    assert {task for task, outcome in found.items() if outcome.result == task**2} == set(range(8)) - {5}
    assert (found[3].tries, found[5].tries) == (2, 3)
    assert "done again (try 2 of 3)" in caplog.text
    with pytest.raises(eb.InputError, match="bad luck"):
        list(workers.run(Duty(fails=7), list(range(8)), two, what="squares"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_driver_writes_the_same_folder_as_one_process(ray, tmp_path):
    from auditing.test_shared import audited, content

    audited(tmp_path / "alone", workers=1)
    audited(tmp_path / "ray", workers=Workers(count=2, ray="local"))
    assert content(tmp_path / "ray") == content(tmp_path / "alone")
    assert len(list((tmp_path / "ray").glob("timing-*"))) == 4
