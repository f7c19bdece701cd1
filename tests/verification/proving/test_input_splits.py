"""Input splits: what is clipped away holds no point that satisfies the query, and halves cover their box."""

import importlib
import math
import signal
import sys

import pytest
import torch

from epsball.certificates import REAL
from epsball.verification.deadline import Deadline, TimeUp
from epsball.verification.network import read_network
from epsball.verification.proving import InputSplits, Task
from epsball.verification.regions import regions_of
from epsball.verification.search import Search
from epsball.verification.vnnlib import cases_of, read_query
from epsball.verification.witness import Judge
from verification.queries import between, network, query, random_layers


@pytest.mark.parametrize("seed", range(3))
def test_every_satisfying_point_stays_in_some_open_box(tmp_path, seed):
    """Points are judged never to be witnesses: whatever the splits do, none that satisfies the query gets lost."""
    layers = random_layers(seed, 3, 16, 8, 2)
    net_path = network(tmp_path / "net.onnx", layers)
    box = [between("-1", "1", place) for place in range(3)]
    path = query(tmp_path / "query.vnnlib", 3, 2, *box, "(<= Y_0 Y_1)", "(<= (+ Y_0 X_0) 1)")
    asked = read_query(path)
    net = read_network(net_path, asked)
    (region,) = regions_of(cases_of(asked)[0], net.runtime)
    judge = Judge(query=asked, network=net.runtime)
    search = Search(region=region, graph=net.graph, judge=judge)
    x = torch.rand(4000, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1
    satisfying = x[search.real_gaps(x)[:, 0] < -1e-9]
    assert len(satisfying) > 20
    judge.judge = lambda points: None
    splits = InputSplits(Task.of(region, net.graph, REAL), search)
    for _ in range(8):
        splits.step(32)
        low, high = splits.left
        assert ((satisfying[:, None] >= low) & (satisfying[:, None] <= high)).all(dim=2).any(dim=1).all()
    assert splits.bounded > 50
    assert (splits.left.high - splits.left.low).prod(dim=1).sum() < 8


def test_splits_stop_after_their_turn_and_go_on(tmp_path):
    layers = random_layers(0, 2, 16, 8, 1)
    net_path = network(tmp_path / "net.onnx", layers)
    box = [between("-1", "1", place) for place in range(2)]
    asked = read_query(query(tmp_path / "query.vnnlib", 2, 1, *box, "(or (<= Y_0 -500) (>= Y_0 500))"))
    net = read_network(net_path, asked)
    (region,) = regions_of(cases_of(asked)[0], net.runtime)
    search = Search(region=region, graph=net.graph, judge=Judge(query=asked, network=net.runtime))
    task = Task.of(region, net.graph, REAL)
    splits = InputSplits(task, search)
    assert not splits.run(Deadline.after(None), seconds=0.0)
    assert (splits.bounded, splits.closed) == (0, 0.0)
    task.open[0, 0] = False
    splits.forget()
    assert len(splits.left.low) == 1
    assert splits.run(Deadline.after(None), seconds=60.0)
    assert task.refuted
    assert splits.closed == 1.0


def test_a_deadline_is_kept_without_alarms():
    deadline = Deadline.after(-1.0)
    with pytest.raises(TimeUp):
        deadline.check()
    assert math.isinf(Deadline.after(None).left)
    assert Deadline.after(60).sooner(1.0).left <= 1.0
    assert Deadline.after(1.0).sooner(math.inf).left <= 1.0


def test_an_alarm_rings_within_a_long_step_and_is_taken_back():
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(TimeUp), Deadline.after(0.05).kept():
        signal.pause()
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_an_alarm_lets_an_import_finish(tmp_path, monkeypatch):
    """Python keeps what is half imported: a later use would find a module without its functions."""
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(0.3)\nwhole = True\n")
    monkeypatch.syspath_prepend(tmp_path)

    def imported():
        with Deadline.after(0.05).kept():
            importlib.import_module("slow_to_import")
            signal.pause()

    with pytest.raises(TimeUp):
        imported()
    assert sys.modules["slow_to_import"].whole
