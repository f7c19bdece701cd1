import json
from pathlib import Path

import pytest
import yaml

import epsball as eb
from epsball import InputError
from epsball.cli import main
from epsball.cli.configuration import flags_text, read_flags
from epsball.cli.train import OldOptions

FLAGS = ["--epochs", "1", "--batch-size", "40", "--lr", "0.1", "--ball", "linf:0.1"]
TRADES = "trades,steps=2,beta=3.0"
RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


def weights(folder):
    return (folder / "weights.safetensors").read_bytes()


def test_flags_and_a_file_of_them_are_equivalent_and_the_resolved_ones_are_saved(tmp_path, capsys, as_users_run):
    data = "digits,first=120"
    assert main(["train", TRADES, "mlp,hidden=8", data, "--out", str(tmp_path / "flags"), *FLAGS]) == 0
    resolved = tmp_path / "flags" / "config.yaml"
    saved = yaml.safe_load(resolved.read_text())
    assert (saved["objective"], saved["schedule"]) == (TRADES, "cosine")
    assert main(["train", "--config", str(resolved), "--out", str(tmp_path / "file")]) == 0
    assert weights(tmp_path / "flags") == weights(tmp_path / "file")
    assert main(["train", "--config", str(resolved), "--out", str(tmp_path / "other"), "--lr", "0.01"]) == 0
    assert weights(tmp_path / "flags") != weights(tmp_path / "other")
    assert yaml.safe_load((tmp_path / "other" / "config.yaml").read_text())["lr"] == 0.01
    capsys.readouterr()


def test_the_same_command_resumes_and_another_is_refused(tmp_path, capsys, as_users_run):
    command = ["train", TRADES, "mlp,hidden=8", "digits,first=120", "--out", str(tmp_path), *FLAGS]
    assert main(command) == 0
    first = weights(tmp_path)
    assert main(command) == 0
    assert weights(tmp_path) == first
    capsys.readouterr()
    assert main([*command, "--seed", "1"]) == 2
    assert "recipe.seed: 0 -> 1" in capsys.readouterr().err
    with pytest.warns(UserWarning, match="recipe.epochs: 1 -> 2"):
        eb.train(
            eb.models.load("mlp,hidden=8", shape=(1, 8, 8), classes=10).module,
            "digits,first=120",
            objective=eb.training.TRADES(ball=eb.Ball("linf", 0.1), steps=2, beta=3.0),
            ball=eb.Ball("linf", 0.1),
            recipe=eb.training.Recipe(epochs=2, batch_size=40, lr=0.1),
            architecture="mlp,hidden=8",
            folder=tmp_path,
            override=True,
        )


def test_card_shows_how_best_and_last_came_about(tmp_path, capsys, as_users_run):
    command = ["train", "standard", "mlp,hidden=8", "digits,first=120", "--out", str(tmp_path), *FLAGS[:6]]
    assert main(command) == 0
    capsys.readouterr()
    for name in ("card", "best"):
        assert main(["card", str(tmp_path / f"{name}.json")]) == 0
        text = capsys.readouterr().out
        assert "selection.rule" in text
        assert "objective.name" in text
        assert main(["audit", str(tmp_path / f"{name}.json"), "digits,first=20", "--ball", "linf:0.1"]) == 0
        capsys.readouterr()
    assert main(["card", str(tmp_path / "card.json"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["training"]["selection"]["kept"] == "last"


def test_a_dry_run_counts_the_passes_and_writes_nothing(tmp_path, capsys, as_users_run):
    command = ["train", TRADES, "mlp,hidden=8", "digits,first=120", "--out", str(tmp_path / "none"), *FLAGS]
    assert main([*command, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    # The target, K = 2 steps, and clean and adversarial inputs of the outer step.
    assert (plan["steps"], plan["forward"], plan["backward"]) == (3, 1 + 2 + 2, 2 + 2)
    assert plan["seconds"] > 0
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("objective", "flags", "text"),
    [
        ("trades", {"steps": 2, "beta": 3.0}, TRADES),
        ("trades,steps=9,beta=3.0", {"steps": 2}, TRADES),
        ("pgd,steps=2", {"step_size": "radius", "start": "none"}, "pgd,steps=2,step_size=radius,start=none"),
        ("trades,steps=1", {"awp": 0.01}, "awp,objective=trades,gamma=0.01,steps=1"),
    ],
)
def test_old_flags_are_folded_into_the_objective(objective, flags, text):
    with pytest.warns(FutureWarning, match=f"write the objective as '{text}'"):
        assert OldOptions(**flags).folded_into(objective) == text
    assert OldOptions().folded_into(objective) == objective


@pytest.mark.filterwarnings("default:--steps")
def test_a_file_of_old_flags_still_trains_and_is_saved_without_them(tmp_path, capsys, as_users_run):
    old = tmp_path / "old.yaml"
    old.write_text("objective: pgd\nsteps: 2\nawp: 0.01\n")
    command = ["train", "--model", "mlp,hidden=8", "--data", "digits,first=120", "--out", str(tmp_path), *FLAGS]
    assert main([*command, "--config", str(old)]) == 0
    assert "warning: --steps, --awp will go in 0.3" in capsys.readouterr().err
    objective = json.loads((tmp_path / "card.json").read_text())["training"]["objective"]
    assert (objective["name"], objective["gamma"], objective["objective"]["steps"]) == ("awp", 0.01, 2)
    saved = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert saved["objective"] == "awp,objective=pgd,gamma=0.01,steps=2"
    with pytest.raises(InputError, match="--awp cannot wrap"):
        OldOptions(awp=0.01).folded_into("awp,objective=pgd")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_file_names_an_objective_and_options_that_exist(path):
    flags = {key.replace("-", "_"): value for key, value in read_flags(path).items()}
    ball = eb.Ball.parse(flags.pop("ball"))
    assert eb.training.resolve(flags.pop("objective"), ball).ball == ball
    options = {key: value for key, value in flags.items() if key not in ("model", "save_every")}
    assert eb.training.Recipe(**options).epochs == flags["epochs"]


@pytest.mark.parametrize(
    ("text", "words"),
    [("epochs: [1]", "'epochs'"), ("- 1", "not a mapping"), ("a: b: c", "cannot be read")],
)
def test_bad_files_are_explained(tmp_path, text, words, capsys):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    assert main(["train", "--config", str(path), "--out", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err


def test_unknown_flags_of_a_file_are_refused(tmp_path, capsys):
    path = tmp_path / "bad.yaml"
    path.write_text("objective: standard\nmodel: mlp\ndata: digits\nepoch: 3\n")
    assert main(["train", "--config", str(path), "--out", str(tmp_path)]) == 2
    assert "epoch" in capsys.readouterr().err


def test_flags_survive_the_file(tmp_path):
    path = tmp_path / "flags.yaml"
    path.write_text(flags_text({"batch_size": 3, "ball": "linf:8/255", "compile": False, "start": None}))
    assert read_flags(path) == {"batch-size": 3, "ball": "linf:8/255", "compile": False}
