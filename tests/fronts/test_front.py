"""Fronts: warm chains with named parents, resumable anywhere, and words that fit the number of seeds."""

import importlib
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import epsball as eb
from epsball.cli import main
from epsball.errors import InputError
from epsball.fronts import Front, FrontPoint
from epsball.models.card import read_card
from epsball.statistics import Bound, Interval

BALL = eb.Ball("linf", "0.02")
RECIPE = eb.training.Recipe(epochs=2, batch_size=20, optimiser="adam", lr=0.01, weight_decay=0.0, warm_up=0.5)
OPTIONS = {"objective": "mtl-ibp,steps=1,initialisation=ibp", "ball": BALL, "recipe": RECIPE, "attack": "fgsm"}
COMMAND = [
    "train", "mtl-ibp,steps=1,initialisation=ibp", "mlp,hidden=8", "digits,first=160", "--ball", "linf:0.02",
    "--epochs", "2", "--warm-up", "0.5", "--optimiser", "adam", "--lr", "0.01", "--weight-decay", "0",
    "--front", "alpha=0,1", "--attack", "fgsm",
]  # fmt: skip


def blobs(n: int = 80) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.rand(n, 4, generator=torch.Generator().manual_seed(1))
    return x, (x[:, 0] > x[:, 1]).long()


def net(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def weights(point: FrontPoint) -> bytes:
    return (point.card.parent / read_card(point.card).weights).read_bytes()


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("front")
    return eb.front(net(), blobs(), along="alpha=0:1:0.5", anew=["0.5"], folder=folder, **OPTIONS)


def test_points_go_from_the_certified_to_the_natural_end_and_cards_name_their_parents(found):
    assert [(p.name, p.start) for p in found.points] == [
        ("1", "scratch"), ("0.5", "warm, from 1"), ("0", "warm, from 0.5"), ("0.5 (scratch)", "scratch"),
    ]  # fmt: skip
    first, second, third, anew = (read_card(point.card).training for point in found.points)
    assert "parent" not in first
    assert "parent" not in anew
    assert second["parent"]["card"] == "../alpha=1/card.json"
    assert third["parent"]["card"] == "../alpha=0.5/card.json"
    assert (found.points[1].card.parent / second["parent"]["card"]).resolve() == found.points[0].card.resolve()
    assert (second["objective"]["initialisation"], second["recipe"]["warm_up"]) == ("keep", 0.0)
    assert (anew["objective"]["initialisation"], anew["recipe"]["warm_up"]) == ("ibp", 0.5)


def test_every_accuracy_has_its_interval_and_keeps_the_chain(found):
    for point in found.points:
        assert point.certified is not None
        assert point.certified.value <= point.under_attack.value <= point.natural.value
        assert all(p.interval and p.value in p.interval for p in (point.certified, point.under_attack, point.natural))
    folder = found.points[0].card.parents[2]
    assert json.loads((folder / "front.json").read_text()) == found.to_json()
    assert (folder / "front.csv").read_text() == found.to_csv()
    assert found.to_arrow()["certified"].to_pylist() == [p.certified.value for p in found.points]
    assert (folder / "front.png").stat().st_size > 5000


def test_of_one_seed_only_these_two_networks_are_spoken_of(found):
    text = str(found)
    assert "alpha 1 to 0.5, these two networks:" in text
    assert "alpha 0.5 to 0.5 (scratch), these two networks:" in text
    assert "seeds: 0" in text
    assert "permutation" not in text


def test_the_same_call_reads_what_is_there_and_adds_to_it(found):
    folder = found.points[0].card.parents[2]
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("weights.safetensors")}
    again = eb.front(net(), blobs(), along="alpha=0:1:0.5", anew=["1", "0.5"], folder=folder, **OPTIONS)
    assert [weights(point) for point in again.points if point.name != "1 (scratch)"] == [*map(weights, found.points)]
    assert before.items() <= {file: file.stat().st_mtime_ns for file in folder.rglob("weights.safetensors")}.items()
    # Trained anew from the same first weights by the same recipe, the first point is itself.
    assert weights(again.points[0]) == weights(again.points[3])


def test_a_front_over_other_options_is_refused_by_the_folder(found):
    folder = found.points[0].card.parents[2]
    with pytest.raises(InputError, match="another configuration"):
        eb.front(net(), blobs(), along="alpha=1,0", folder=folder, **OPTIONS)


@pytest.mark.slow
def test_four_seeds_each_are_tested_by_permutation_and_fewer_are_not(tmp_path):
    options = OPTIONS | {"recipe": replace(RECIPE, epochs=1)}
    test, folder = blobs(40), tmp_path / "front"
    few = eb.front(net, blobs(), along="alpha=0,1", seeds=[0, 1], test=test, folder=folder, **options)
    assert "these networks, fewer than 4 seeds each" in str(few)
    assert not any("better" in line for line in few.differences)
    many = eb.front(net, blobs(), along="alpha=0,1", seeds=[0, 1, 2, 3], test=test, folder=folder, **options)
    assert [weights(p) for p in many.points[:4]] == [*map(weights, few.points)]
    assert "4 seeds each, exact permutation test" in str(many)
    assert "seeds: 0, 1, 2, 3" in str(many)
    assert many.comparison is not None
    natural = [[p.natural.value for p in many.points if p.value == value] for value in ("1", "0")]
    assert many.comparison.methods[0].values_a == pytest.approx(natural[0])


@pytest.mark.slow
def test_a_kill_at_any_point_changes_nothing(tmp_path):
    whole = [*COMMAND, "--out", str(tmp_path / "whole")]
    assert main(whole) == 0
    folder = tmp_path / "killed"
    stages = ["alpha=1/checkpoints", "alpha=1/audit/run.json", "alpha=0/checkpoints", "alpha=0/audit/run.json"]
    for stage in stages:
        process = subprocess.Popen(
            [sys.executable, "-m", "epsball", *COMMAND, "--out", str(folder)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until = time.monotonic() + 120
        while not (folder / "seed-0" / stage).exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert main([*COMMAND, "--out", str(folder)]) == 0
    for name in ("alpha=1", "alpha=0"):
        here, there = (place / "seed-0" / name / "weights.safetensors" for place in (tmp_path / "whole", folder))
        assert here.read_bytes() == there.read_bytes()
    first, second = ((place / "front.csv").read_text() for place in (tmp_path / "whole", folder))
    assert first == second.replace(str(folder), str(tmp_path / "whole"))


def test_ctrl_c_carries_the_points_that_are_finished(tmp_path, monkeypatch):
    module = importlib.import_module("epsball.fronts.front")
    audit, calls = module.audit, []

    def interrupted(*args: object, **options: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return audit(*args, **options)

    monkeypatch.setattr(module, "audit", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        eb.front(net(), blobs(), along="alpha=0,1", folder=tmp_path / "front", **OPTIONS)
    partial = caught.value.partial  # pyright: ignore[reportAttributeAccessIssue]
    assert isinstance(partial, Front)
    assert [point.value for point in partial.points] == ["1"]
    assert "interrupted: points are missing" in str(partial)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"along": "alfa=0,1"}, "takes no alfa; it takes"),
        ({"along": "alpha=0,1.5"}, r"alpha is 1.5"),
        ({"along": "steps=1,1.5", "objective": "mtl-ibp"}, "whole number"),
        ({"along": "alpha=0,1", "objective": "mtl-ibp,alpha=1"}, "gives alpha, which the front varies"),
        ({"along": "alpha=0,1", "anew": ["0.5"]}, "anew is 0.5, which is not on the front; its values: 1, 0"),
        ({"along": "alpha=0,1", "seeds": [0, 1]}, "2 seeds hold out different parts"),
        ({"along": "alpha=0,1", "warm_epochs": 0}, "warm_epochs"),
    ],
)
def test_bad_input_is_named_before_the_first_step(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        eb.front(net(), blobs(), folder=tmp_path / "front", **(OPTIONS | options))
    assert not (tmp_path / "front").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--scratch"], "--scratch: options of a front, without one"),
        (["--front", "alpha=0,1", "--dry-run"], "--dry-run does not go with --front"),
        (["--front", "alpha=0,1", "--seeds", "0,x"], "the seed is 'x'"),
    ],
)
def test_the_command_names_what_does_not_go_together(tmp_path, capsys, flags, message):
    command = ["train", "mtl-ibp", "mlp", "digits,first=60", "--ball", "linf:0.1", "--out", str(tmp_path / "f")]
    assert main([*command, *flags]) != 0
    assert message in capsys.readouterr().err


def test_a_front_draws_networks_that_cannot_be_certified(found):
    bound = Bound(value=0.5, interval=Interval(0.4, 0.6))
    points = [replace(p, certified=None, natural=bound, uncertified="no rule for sin") for p in found.points]
    front = replace(found, points=tuple(points))
    assert "nothing is certified: no rule for sin" in str(front)
    assert len(front.plot().axes) == 1
    assert all(value is None or np.isnan(value) for value in front.to_arrow()["certified"].to_pylist())
