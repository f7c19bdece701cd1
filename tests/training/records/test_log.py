import json

import pytest

import epsball as eb
from epsball import Ball
from epsball.training import TRADES, Recipe
from epsball.training.records.log import STEPS, Log
from helpers import mlp


def steps(folder):
    return [json.loads(line) for line in (folder / STEPS).read_text().splitlines()]


def test_the_log_says_what_the_objective_says(tmp_path, as_users_run):
    recipe = Recipe(epochs=2, batch_size=40)
    objective = TRADES(ball=Ball("linf", 0.1), steps=1, beta=2.0)
    result = eb.train(mlp(64, 8, 10), "digits,first=120", objective=objective, recipe=recipe, folder=tmp_path)
    lines = steps(tmp_path)
    assert [line["step"] for line in lines] == [3, 3, 6, 6]
    first = lines[0]
    assert first["loss"] == pytest.approx(first["natural"] + 2.0 * first["divergence"])
    assert lines[-1]["epoch.under_attack"] == result.history[-1].under_attack
    assert result.history[0].parts["natural"] == pytest.approx(first["natural"])
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_lines_of_lost_steps_are_dropped_when_the_run_resumes(tmp_path):
    log = Log(tmp_path, 0, tensorboard=False)
    for step in (1, 2, 3):
        log.write(step, {"loss": 1.0})
    with (tmp_path / STEPS).open("a") as file:
        file.write('{"step": 4, "lo')  # killed while writing
    Log(tmp_path, 2, tensorboard=False)
    assert [line["step"] for line in steps(tmp_path)] == [1, 2]


def test_tensorboard_gets_the_same_numbers(tmp_path, as_users_run):
    pytest.importorskip("tensorboard")
    log = Log(tmp_path, 0, tensorboard=True)
    log.write(1, {"loss": 0.5, "note": "text"})
    log.close()
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_best_and_last_are_both_kept(tmp_path, as_users_run):
    ball = Ball("linf", 0.1)
    recipe = Recipe(epochs=3, batch_size=60, lr=0.3)
    result = eb.train(mlp(64, 16, 10), "digits,first=200", ball=ball, recipe=recipe, folder=tmp_path)
    best = max(result.history, key=lambda epoch: (epoch.under_attack, -epoch.epoch))
    cards = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in ("card", "best")}
    assert cards["best"]["training"]["selection"]["epoch"] == best.epoch
    assert cards["card"]["training"]["selection"]["epoch"] == 3
    assert f"best epoch {best.epoch}" in str(result)
    again = eb.train(mlp(64, 16, 10), "digits,first=200", ball=ball, recipe=recipe)
    assert [e.under_attack for e in again.history] == [e.under_attack for e in result.history]
