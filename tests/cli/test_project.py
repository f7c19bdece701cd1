"""A project's file: found upward, read strictly; what the command line says wins."""

import pytest

from epsball.cli import main
from epsball.cli.app import app
from epsball.cli.project import used


def parsed(*arguments):
    """Return what a command is called with."""
    _, given, _ = app.parse_args(list(arguments), exit_on_error=False, print_error=False)
    return given.arguments


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Return what writes a project's file; the command runs in a directory below it."""
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")

    def write(text, name="epsball.toml"):
        (tmp_path / name).write_text(text)

    return write


GATE = 'model = "cnn_a"\ndata = "digits"\nball = "linf:0.1"\nmin_robust = 0.9\nmin-certified = "1/3"\n'


@pytest.mark.parametrize(
    ("name", "head"), [("epsball.toml", "[gate]\n"), ("pyproject.toml", "[project]\nname = 'x'\n[tool.epsball.gate]\n")]
)
def test_a_command_takes_options_and_arguments_from_the_project(project, name, head):
    project(head + GATE, name)
    given = parsed("gate")
    assert (given["model"], given["data"]) == ("cnn_a", "digits")
    assert given["conditions"].ball == "linf:0.1"
    assert (given["conditions"].min_robust, given["conditions"].min_certified) == ("0.9", "1/3")
    found = used()
    assert found is not None
    assert found.key("min_robust")[-2:] == ("gate", "min_robust")
    assert found.key("min_certified")[-1] == "min-certified"


def test_the_command_line_wins(project):
    project("[gate]\n" + GATE)
    given = parsed("gate", "mlp", "--min-robust", "0.5")
    assert (given["model"], given["data"], given["conditions"].min_robust) == ("mlp", "digits", "0.5")
    assert used().key("min_robust") is None


def test_an_option_may_have_the_name_of_a_command(project):
    project("[audit]\nlimit = false\n")
    assert parsed("audit", "m", "d", "--ball", "linf:0.1")["options"].limit is False


def test_lists_are_for_options_that_take_several_values(project, capsys):
    project('[compare]\nruns = ["a", "b"]\n[gate]\nball = ["linf:0.1", "l2:1"]\n')
    assert [str(run) for run in parsed("compare")["runs"]] == ["a", "b"]
    assert main(["gate", "m", "d"]) == 2
    assert "ball in [gate] of" in capsys.readouterr().err


def test_the_nearest_file_with_a_table_of_ours_counts(project, tmp_path):
    project('[gate]\nball = "linf:0.1"\n')
    (tmp_path / "below" / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert parsed("gate", "m", "d")["conditions"].ball == "linf:0.1"
    (tmp_path / "below" / "pyproject.toml").write_text("[tool.epsball.gate]\nball = 'l2:1'\n")
    assert parsed("gate", "m", "d")["conditions"].ball == "l2:1"


def test_a_flag_of_training_wins_over_its_configuration_and_that_over_the_project(project, tmp_path):
    project("[train]\nepochs = 3\nlr = 0.5\nmomentum = 0.1\n")
    (tmp_path / "below" / "flags.yaml").write_text("epochs: 4\nlr: 0.25\n")
    recipe = parsed("train", "pgd", "m", "d", "--out", "x", "--config", "flags.yaml", "--epochs", "5")["recipe"]
    assert (recipe.epochs, recipe.lr, recipe.momentum) == (5, 0.25, 0.1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[gate]\nmin_robst = 0.9", "unknown key 'min_robst' in [gate] of {}. Did you mean 'min-robust'?"),
        ("[gaet]\n", "unknown table 'gaet' in {}; a table is the name of a command"),
        ("[gate]\nball = 'linf:8'", "ball in [gate] of {}: radius 8 exceeds the box"),
        ("[gate]\neffort = 'quik'", "effort in [gate] of {} is 'quik'; it is one of quick, standard, full."),
        ("[gate]\nalpha = 'x'", "alpha in [gate] of {} is 'x'; it takes a number"),
        ("[gate]\ndata = ['a', 'b']", "data in [gate] of {} is ['a', 'b']; it takes one value."),
        ("gate = 3", "'gate' in {} is 3; it is a table, [gate]."),
        ("[gate", "{} is not TOML: "),
    ],
)
def test_what_is_wrong_is_named_with_its_file(project, tmp_path, capsys, text, said):
    project(text)
    assert main(["gate", "m", "d"]) == 2
    assert said.format(tmp_path / "epsball.toml") in capsys.readouterr().err


def test_which_file_was_used_is_said(project, tmp_path, capsys):
    project("[gate]\n" + GATE.replace("0.9", '"x"').replace("cnn_a", "nowhere"))
    assert main(["gate"]) == 2
    assert f"note: options are taken from [gate] of {tmp_path / 'epsball.toml'}" in capsys.readouterr().err
