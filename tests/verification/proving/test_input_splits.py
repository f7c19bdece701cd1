"""Input splits: what is clipped away holds no point that satisfies the query, and halves cover their box."""

import math
import signal

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


def test_a_deadline_is_kept_without_alarms():
    deadline = Deadline.after(-1.0)
    with pytest.raises(TimeUp):
        deadline.check()
    assert math.isinf(Deadline.after(None).left)


def test_an_alarm_rings_within_a_long_step_and_is_taken_back():
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(TimeUp), Deadline.after(0.05).kept():
        signal.pause()
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
