"""Two processes that share each batch are one process at the same global batch."""

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import epsball as eb
from epsball.training.processes import Processes, warn_of_batch_norm
from helpers import convnet

STEPS = 20
SCRIPT = """
import json, sys
import torch
torch.set_num_threads(1)
import epsball as eb
from epsball.training import *
from epsball.training.prepare import prepare
from epsball.training.engine.step import Stepper
from helpers import mlp

def losses(objective, recipe):
    task, _ = prepare(mlp(64, 16, 10).double(), data, objective, None, None, None, recipe)
    run = Stepper(task)
    run.begin()
    found = []
    for _ in range(20):
        run.advance()
        examples, sums = run.drain()
        found.append(sums["loss"] / examples)
    return task.processes, found

ball = eb.Ball("linf", 0.1)
x, y = eb.data.load("digits,first=70")[:70]
data = eb.data.as_pixels(x).double(), y
recipe = Recipe(epochs=20, batch_size=9, lr=0.1, holdout=0.02, augment="crop=1,flip", warm_up=0.2)
objectives = [
    AWP(objective=TRADES(ball=ball, steps=2)), Free(ball=ball, replays=2), KGB17(ball=ball, fraction=0.7),
    FGSMRS(ball=ball, every=3, steps=2), Cascade(ball=ball, source=mlp(64, 8, 10, seed=3).double(), steps=1),
    IBP(ball=ball, initialisation="ibp", regulariser=0.5, l1=1e-4),
]
found = {}
for objective in objectives:
    processes, found[objective.name] = losses(objective, recipe)
if processes.first:
    print(json.dumps({"count": processes.count, "losses": found}))
"""


def environment(**more: str) -> dict[str, str]:
    paths = [str(Path(eb.__file__).parents[1]), str(Path(__file__).parents[1])]
    ours = {"PYTHONPATH": os.pathsep.join(paths), "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **ours, **more}


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


FORK = """
import os
import accelerate, torch._dynamo
from epsball import training
child = os.fork()
os.environ.update(RANK="0" if child else "1", LOCAL_RANK="0" if child else "1")
"""
WAIT = """
import os
assert processes.index == 1 or os.wait()[1] == 0
"""


def two_processes() -> dict:
    """Return what the script prints in two processes, told of each other as torchrun tells them."""
    world = environment(WORLD_SIZE="2", LOCAL_WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=free_port())
    command = [sys.executable, "-c", FORK + SCRIPT + WAIT]
    done = subprocess.run(command, env=world, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_two_gloo_processes_are_one_for_the_first_steps(as_users_run):
    pytest.importorskip("accelerate")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(SCRIPT, {})
    one, two = json.loads(printed.getvalue()), two_processes()
    assert (one["count"], two["count"]) == (1, 2)
    for name, losses in one["losses"].items():
        assert len(losses) == STEPS
        assert two["losses"][name] == pytest.approx(losses, rel=1e-9), name


@pytest.mark.slow
def test_torchrun_starts_processes_that_share_a_batch(tmp_path):
    pytest.importorskip("accelerate")
    script = tmp_path / "script.py"
    script.write_text("from epsball.training import join\nprocesses = join()\nprint(processes.index, processes.count)")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    done = subprocess.run(torchrun, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert sorted(done.stdout.split()) == ["0", "1", "2", "2"]


def test_batch_norm_over_processes_is_warned_of():
    with pytest.warns(UserWarning, match="SyncBatchNorm"):
        warn_of_batch_norm(convnet(), Processes(index=0, count=2))
    warn_of_batch_norm(convnet(), Processes())


def test_alone_sums_and_shares_are_the_things_themselves():
    alone, rows = Processes(), torch.arange(5)
    assert alone.share(rows).tolist() == [0, 1, 2, 3, 4]
    assert alone.sum([rows])[0] is rows
    assert alone.gather("a") == ["a"]
    shares = [Processes(index=i, count=3).share(rows) for i in range(3)]
    assert torch.cat(shares).sort().values.tolist() == rows.tolist()


def test_a_place_in_the_batch_stays_with_its_process_whatever_the_size_of_the_batch():
    for size in (9, 8):
        assert Processes(index=1, count=2).share(torch.arange(size))[:4].tolist() == [1, 3, 5, 7]
