"""docs/extending.md keeps its word: its files, written as they stand, run by its commands."""

import hashlib
import json
import runpy
import shlex

import pytest

from epsball.cli import main
from pages import ROOT, blocks, commands, put

PAGE = (ROOT / "docs" / "extending.md").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("extending")
    put(PAGE, place)
    return place


def test_every_file_and_command_of_the_page_runs(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    for command in commands(PAGE, "epsball"):
        assert main(shlex.split(command)) == 0, (command, capsys.readouterr().err)
    named = {name for _, name, _ in blocks(PAGE)}
    used = {name for name in named if any(f"{name}:" in command for command in commands(PAGE, "epsball"))}
    assert named - used == set(commands(PAGE, "python"))


def test_its_python_runs(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    for script in commands(PAGE, "python"):
        runpy.run_path(script)
    printed = capsys.readouterr().out
    assert "accuracy under attack" in printed
    assert "pieces" in printed


def test_what_is_loaded_is_recorded_and_a_changed_file_is_refused(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    card = json.loads((folder / "paired" / "card.json").read_text())["training"]["objective"]
    assert card["files"] == {"pairing.py": _sha256(folder / "pairing.py")}
    links = {
        "run": ("attack", "method", "two_losses.py"),
        "proved": ("certificate", "method", "pieces.py"),
        "paired": (None, None, "pairing.py"),
    }
    for run, (link, option, name) in links.items():
        if link is not None:
            recorded = json.loads((folder / run / "run.json").read_text())["identity"]["links"][link][option]
            assert recorded["files"] == {name: _sha256(folder / name)}
        command = next(line for line in commands(PAGE, "epsball") if line.endswith(f"--out {run}"))
        assert main(shlex.split(command)) == 0  # The same file: the run resumes.
        content = (folder / name).read_text()
        (folder / name).write_text(content + "\n")
        assert main(shlex.split(command)) == 2
        assert name in capsys.readouterr().err
        (folder / name).write_text(content)


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
