"""CONTRIBUTING.md keeps its word: its recipes, followed to the letter, pass the tests that they name."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pages import ROOT, blocks, commands, put

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
COMMANDS = commands(PAGE, "python -m pytest")


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Path:
    """Return a copy of the project with every block of the page put where its head says."""
    copy = tmp_path_factory.mktemp("house")
    for folder in ("src", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    assert {path.split("/")[2] for _, path, _ in blocks(PAGE)} >= {"attacks", "certificates", "training"}
    put(PAGE, copy)
    return copy


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_recipe_of_the_page_passes_the_tests_it_names(house, arguments):
    paths = os.pathsep.join([str(house / "src"), str(house / "tests")])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments.replace('"', "").split(), "-p", "no:cacheprovider"],
        cwd=house,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout or re.search(r"^\.+", done.stdout, re.MULTILINE)


def test_the_page_names_a_command_for_each_recipe():
    places = {name.split("/")[2] for _, name, _ in blocks(PAGE)}
    assert len(COMMANDS) == len({room for room in places if not room.endswith(".py")})
