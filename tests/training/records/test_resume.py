"""A run that is killed at any moment and started again ends with the same bits as one that was not."""

import json
import lzma
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import epsball as eb
from epsball import Ball, EpsballError, InputError, progress
from epsball.training import PGD, Losses, Recipe, Standard, loop
from epsball.training.records.checkpoint import FOLDER, checkpoints, read_checkpoint, write_checkpoint
from epsball.training.records.log import STEPS
from epsball.training.records.resume import checkpoint_to_resume
from helpers import convnet, mlp
from training.small_objectives import NAMES, small_objective

pytestmark = pytest.mark.usefixtures("short_evaluations")

BALL = Ball("linf", 0.1)
RECIPE = Recipe(epochs=2, batch_size=60, lr=0.05, ema=0.9, augment="crop=1,flip", label_smoothing=0.1, warm_up=0.3)


class Killed(BaseException):
    """Stands for the end of the process."""


def train(folder: Path, objective="standard", recipe: Recipe = RECIPE, **more) -> eb.Training:
    module = convnet(classes=10)
    more = {"save_every": 2, **more}
    return eb.train(module, "digits,first=200", objective=objective, recipe=recipe, folder=folder, **more)


def kill_after(reports: int):
    """Return a listener that ends everything at a report."""
    seen = []

    def listener(what: str, done: int, total: int) -> None:
        seen.append(done)
        if len(seen) == reports:
            raise Killed

    return progress.listening(listener)


def same(a: eb.Training, b: eb.Training) -> bool:
    pairs = zip(a.classifier.module.state_dict().values(), b.classifier.module.state_dict().values(), strict=True)
    return all(torch.equal(p, q) for p, q in pairs)


@pytest.mark.parametrize("name", NAMES)
def test_every_objective_resumes_to_the_same_bits(name, tmp_path, as_users_run):
    whole = train(tmp_path / "whole", small_objective(name, BALL))
    for reports in (2, 3):  # the second kill comes after a checkpoint in the middle of an epoch
        with pytest.raises(Killed), kill_after(reports):
            train(tmp_path / "killed", small_objective(name, BALL))
    again = train(tmp_path / "killed", small_objective(name, BALL))
    assert same(whole, again)
    assert [e.loss for e in whole.history] == [e.loss for e in again.history]
    assert (tmp_path / "whole" / "best.safetensors").read_bytes() == (
        tmp_path / "killed" / "best.safetensors"
    ).read_bytes()


def test_a_checkpoint_of_version_0_1_0_is_resumed(tmp_path, as_users_run):
    """Written after step 2 of 6; other machines round otherwise, so equal but for rounding."""

    def train(folder: Path) -> eb.Training:
        recipe = Recipe(epochs=2, batch_size=50, lr=0.05, ema=0.9)
        objective = PGD(ball=BALL, steps=1)
        return eb.train(mlp(64, 2, 10), "digits,first=120", objective=objective, recipe=recipe, folder=folder)

    kept = tmp_path / "kept" / FOLDER / "step-000000000002.pt"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(lzma.decompress((Path(__file__).parent / "checkpoint-0.1.0.pt.xz").read_bytes()))
    resumed, whole = train(tmp_path / "kept"), train(tmp_path / "whole")
    steps = [json.loads(line)["step"] for line in (tmp_path / "kept" / STEPS).read_text().splitlines()]
    assert min(steps) > 2
    states = (run.classifier.module.state_dict().values() for run in (resumed, whole))
    assert all(torch.allclose(p, q, rtol=1e-5, atol=1e-6) for p, q in zip(*states, strict=True))


SCRIPT = """
import sys, torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[2])
from test_resume import train
train(sys.argv[1])
"""


@pytest.mark.slow
def test_kill_9_leaves_a_run_that_resumes(tmp_path, as_users_run):
    here = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2]), str(Path(eb.__file__).parents[1])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(here)}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path / "killed"), here[0]], env=environment)
    while not checkpoints(tmp_path / "killed") and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = train(tmp_path / "killed")
    assert same(train(tmp_path / "whole"), again)


def test_a_kill_between_the_weights_of_an_epoch_and_its_checkpoint_can_be_resumed(tmp_path, as_users_run, monkeypatch):
    whole = train(tmp_path / "whole", save_every=100)
    written = []

    def killed(folder, state):
        if written:
            raise Killed
        written.append(write_checkpoint(folder, state))

    monkeypatch.setattr(loop, "write_checkpoint", killed)
    with pytest.raises(Killed):
        train(tmp_path / "killed", save_every=100)
    assert (tmp_path / "killed" / "card.json").exists()
    (tmp_path / "killed" / ".card.json.abcd1234").write_text("half a c")
    monkeypatch.undo()
    assert same(whole, train(tmp_path / "killed", save_every=100))
    assert not list((tmp_path / "killed").glob(".*"))


def test_an_average_over_epochs_resumes_to_the_same_bits(tmp_path, as_users_run):
    recipe = Recipe(**{**vars(RECIPE), "epochs": 3, "ema": 0.0, "swa": 0.3})
    whole = train(tmp_path / "whole", recipe=recipe)
    with pytest.raises(Killed), kill_after(8):  # in the third epoch, after the first average
        train(tmp_path / "killed", recipe=recipe)
    assert same(whole, train(tmp_path / "killed", recipe=recipe))


def test_weights_that_are_not_finite_stop_a_run_and_reach_no_checkpoint(tmp_path, as_users_run):
    class Cliff:
        """A finite loss whose gradient is not: the square root of 0."""

        name = "cliff"

        def __call__(self, module, x, y, context):
            losses = Standard()(module, x, y, context)
            nothing = sum((0.0 * p).sum() for p in module.parameters())
            return Losses(examples=losses.examples + (nothing.sqrt() if context.step == 3 else 0.0))

    with pytest.raises(EpsballError, match=r"weight is not finite after epoch 2, batch 1 of 3 \(step 4\)"):
        train(tmp_path, Cliff(), save_every=1)
    kept = read_checkpoint(tmp_path)
    assert kept["run"]["step"] == 3
    assert all(torch.isfinite(tensor).all() for tensor in kept["run"]["tensors"].values())


def test_an_optimiser_of_ones_own_is_recorded_and_resumes(tmp_path, as_users_run):
    def adamw(parameters):
        return torch.optim.AdamW(parameters, lr=0.01)

    whole = train(tmp_path / "whole", optimiser=adamw)
    assert whole.card.training["optimiser"]["class"] == "AdamW"
    with pytest.raises(Killed), kill_after(3):
        train(tmp_path / "killed", optimiser=adamw)
    with pytest.raises(InputError, match=r"optimiser.lr: 0.01 -> 0.02"):
        train(tmp_path / "killed", optimiser=lambda parameters: torch.optim.AdamW(parameters, lr=0.02))
    assert same(whole, train(tmp_path / "killed", optimiser=adamw))


def test_a_finished_run_is_returned_as_it_is(tmp_path, as_users_run):
    first = train(tmp_path)
    stamp = (tmp_path / "weights.safetensors").stat().st_mtime_ns
    again = train(tmp_path)
    assert same(first, again)
    assert again.history == first.history
    assert (tmp_path / "weights.safetensors").stat().st_mtime_ns == stamp


def test_another_configuration_is_shown_and_refused_without_override(tmp_path, as_users_run):
    train(tmp_path)
    longer = Recipe(**{**vars(RECIPE), "epochs": 3})
    with pytest.raises(InputError, match=r"recipe.epochs: 2 -> 3") as refusal:
        train(tmp_path, recipe=longer)
    assert "recipe.lr" not in str(refusal.value)
    assert "--override" in str(refusal.value)
    with pytest.warns(UserWarning, match=r"recipe.epochs: 2 -> 3"):
        result = train(tmp_path, recipe=longer, override=True)
    assert [e.epoch for e in result.history] == [1, 2, 3]


def test_another_number_of_processes_is_refused(tmp_path, as_users_run):
    train(tmp_path)
    now = {"processes": 2}
    with pytest.raises(InputError, match="by 1 processes, now there are 2"):
        checkpoint_to_resume(tmp_path, now, override=True)


def test_a_truncated_checkpoint_names_the_older_one_which_then_serves(tmp_path, as_users_run):
    whole = train(tmp_path / "whole")
    with pytest.raises(Killed), kill_after(5):
        train(tmp_path / "killed")
    older, newest = checkpoints(tmp_path / "killed")
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.raises(InputError, match=f"cut short.*resume from {older.name}"):
        train(tmp_path / "killed")
    newest.unlink()
    assert same(whole, train(tmp_path / "killed"))


def test_a_full_disk_is_reported_and_leaves_the_older_checkpoint(tmp_path, as_users_run, monkeypatch):
    whole = train(tmp_path / "whole")
    calls = []
    fsync = os.fsync

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 4:
            raise OSError(28, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left on device"):
        train(tmp_path / "full", save_every=1)
    monkeypatch.setattr(os, "fsync", fsync)
    assert len(checkpoints(tmp_path / "full")) == 2
    assert not list((tmp_path / "full").rglob(".*"))
    assert same(whole, train(tmp_path / "full", save_every=1))


def test_a_checkpoint_of_another_module_is_refused(tmp_path, as_users_run):
    train(tmp_path)
    with pytest.raises(EpsballError, match="other parameters"):
        eb.train(
            mlp(64, 8, 10),
            "digits,first=200",
            recipe=RECIPE,
            folder=tmp_path,
            architecture="Sequential",
        )
