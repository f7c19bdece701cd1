"""What the command line says about itself, and to what is wrong with a command line."""

import json
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from cyclopts import App

import epsball as eb
from epsball.cli import main
from epsball.cli.app import app
from epsball.data.loading import KINDS
from epsball.models.architectures import ARCHITECTURES


def commands(node: App, *path: str):
    """Yield the words of every command, and its app."""
    for name in node:
        if not name.startswith("-"):
            yield (*path, name), node[name]
            yield from commands(node[name], *path, name)


COMMANDS = {" ".join(path): command for path, command in commands(app)}
LEAVES = {name: command for name, command in COMMANDS.items() if command.default_command is not None}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does(name, capsys):
    assert COMMANDS[name].help.strip()
    assert main([*name.split(), "--help"]) == 0
    assert "Usage: epsball " + name in capsys.readouterr().out


@pytest.mark.parametrize("name", LEAVES)
def test_every_option_says_what_it_takes(name):
    arguments = LEAVES[name].assemble_argument_collection(parse_docstring=True)
    silent = [a.name for a in arguments if a.parse and not a.children and not (a.parameter.help or "").strip()]
    assert silent == []
    assert [a.name for a in arguments if "`" in (a.parameter.help or "")] == []


def test_choices_are_shown(capsys):
    assert main(["certify", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "[choices: auto, interval, ibp, lipschitz," in shown
    assert "[choices: float32, real]" in shown


LIGHT = {
    "help": ["--help"],
    "version": ["--version"],
    **{name: [*name.split(), "--help"] for name in COMMANDS},
    "nothing": ["audit"],
    "no ball": ["audit", "mlp", "digits"],
    "a wrong ball": ["attack", "mlp", "digits", "--ball", "linf:8"],
    "an unknown option": ["attack", "mlp", "digits", "--bal", "linf:0.1"],
    "an unknown command": ["atack", "mlp", "digits"],
    "a wrong choice": ["certify", "mlp", "digits", "--ball", "linf:0.1", "--method", "crwn"],
    "a wrong number": ["train", "pgd", "mlp", "digits", "--out", "x", "--epochs", "many"],
    "a wrong seed": ["attack", "mlp", "digits", "--ball", "linf:0.1", "--seed", "-3"],
    "a wrong figure": ["figure", "overlap", "--out", "a.jpg"],
    "a wrong file of points": ["attack", "mlp", "digits", "--ball", "linf:0.1", "--out", "x.pt"],
    "a wrong shape": ["fingerprint", "mlp", "--shape", "1xa"],
    "the kinds of names": ["explain"],
    "wrong radii": ["limit", "digits", "--radii", "0:1"],
}


def test_help_and_usage_errors_load_nothing_heavy():
    code = (
        f"import sys\nfrom epsball.cli import main\nfor line in {list(LIGHT.values())}:\n    main(line)\n"
        "heavy = [name for name in ('torch', 'numpy', 'scipy', 'matplotlib', 'pyarrow') if name in sys.modules]\n"
        "print(heavy, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


SAID = {
    "no model": (["audit"], "MODEL is missing: the model under test, as in "),
    "no data": (["audit", "mlp"], "DATA is missing: the data"),
    "no ball": (["audit", "mlp", "digits"], "--ball is missing: the perturbation set, NORM:RADIUS, as in linf:8/255"),
    "no value": (["audit", "mlp", "digits", "--ball"], "--ball has no value: the perturbation set"),
    "half a value": (["figure", "gaussian", "--out", "a.png", "--means", "1"], "--means has 1 value, but takes 2"),
    "no objective": (["train"], "OBJECTIVE is missing: NAME[,option=value]"),
    "no folder": (["train", "pgd", "mlp", "digits"], "--out is missing: folder of weights"),
    "a misspelled option where one is missing": (
        ["audit", "mlp", "digits", "--bal", "linf:0.1"],
        "unknown option --bal. Did you mean '--ball'?",
    ),
    "a text for a number": (
        ["audit", "mlp", "digits", "--ball", "linf:0.1", "--seed", "x"],
        "--seed is 'x'; it takes a whole number: seed of every draw.",
    ),
    "a wrong choice": (
        ["audit", "mlp", "digits", "--ball", "linf:0.1", "--certificates", "crwn"],
        "--certificates is 'crwn'; it is one of auto, interval, ibp, lipschitz, crown-ibp, forward, crown, optimised, "
        "alpha-crown, wong-kolter, lp, lp-tight, sdp, complete, none. Did you mean 'crown'?",
    ),
    "a wrong ball": (
        ["audit", "mlp", "x", "--ball", "lin:1"],
        "--ball: norm is 'lin'; the norms are linf, l2, l1",
    ),
    "one argument too many": (["audit", "mlp", "digits", "x", "--ball", "linf:0.1"], "one argument too many: 'x'"),
    "twice": (
        ["audit", "mlp", "digits", "--ball", "linf:1", "--json", "--json"],
        "--json is given twice; give it once.",
    ),
    "two names of one option": (
        ["audit", "mlp", "digits", "--ball", "linf:0.1", "--effort", "full", "--budget", "quick"],
        "--budget is given twice (--effort and --budget are one option); give it once.",
    ),
    "an unknown command": (["adit"], "unknown command 'adit'; the commands are "),
    "an unknown command of a command": (["figure", "overlp"], "Did you mean 'overlap'?"),
    "an option for a command": (["--hepl"], "unknown option --hepl. Did you mean '--help'?"),
}


@pytest.mark.parametrize("case", SAID)
def test_a_wrong_command_line_is_told_what_is_wrong(case, capsys):
    arguments, message = SAID[case]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 2
    assert captured.out == ""


def test_the_help_that_is_named_is_that_of_the_command(capsys):
    main(["figure", "gaussian", "--out"])
    assert capsys.readouterr().err.endswith("See 'epsball figure gaussian --help'.\n")


def listed(capsys, *subject):
    """Return the names that `epsball list` prints, by subject."""
    assert main(["list", *subject, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    return {name: {entry["name"] for entry in entries} for name, entries in document.items()}


def test_list_prints_what_is_registered_one_line_each(capsys):
    names = listed(capsys)
    assert names["attacks"] >= {*eb.attacks.ATTACKS, "collision", "transfer"}
    assert names["objectives"] == set(eb.training.OBJECTIVES)
    assert names["methods"] == {"auto", *eb.certificates.METHODS}
    assert names["models"] >= {*ARCHITECTURES, "FILE.onnx", "timm:NAME"}
    assert {name.partition(":")[0] for name in names["data"]} == set(KINDS)
    assert listed(capsys, "methods") == {"methods": names["methods"]}
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in set().union(*names.values()):
        own = [line for line in lines if line.split()[:1] == [name]]
        assert own, name
        assert all(line.endswith(".") and len(line.split()) > 3 for line in own)


def test_attacks_of_other_packages_are_listed_without_being_loaded(capsys, monkeypatch):
    point = EntryPoint(name="theirs", value="nowhere:Theirs", group="epsball.attacks")
    monkeypatch.setattr("epsball.attacks.registry.entry_points", lambda group: [point])
    assert main(["list", "attacks"]) == 0
    assert "Of another package: nowhere:Theirs." in capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_are_written_for_every_shell(shell, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert main(["--install-completion", "--shell", shell]) == 0
    assert "completions are in" in capsys.readouterr().out
    files = [file for file in tmp_path.rglob("*epsball*") if file.is_file()]
    assert len(files) == 1
    assert all(word in files[0].read_text() for word in ("certify", "alpha-crown", "one-cycle"))


def test_bash_completes_options_and_choices(tmp_path, capsys):
    script = tmp_path / "epsball.sh"
    assert main(["--install-completion", "--shell", "bash", "--output", str(script)]) == 0
    capsys.readouterr()
    asked = (
        f"source {script}; COMP_WORDS=(epsball attack m d --stop ''); COMP_CWORD=5; _epsball; echo ${{COMPREPLY[*]}}"
    )
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["first", "never"]
