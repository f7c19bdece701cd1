"""CONTRIBUTING.md keeps its word: its recipes, followed to the letter, pass the tests that they name."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()

_BLOCK = re.compile(r"^```(python|diff) (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^    python -m pytest (.+)$", re.MULTILINE)


def applied(source: str, hunk: str) -> str:
    """Return a text with a hunk applied; the lines that are not new stand in the text exactly once."""
    lines = hunk.splitlines()
    before, after = ("\n".join(line[1:] for line in lines if not line.startswith(mark)) for mark in "+-")
    assert source.count(before) == 1, f"the page's lines stand {source.count(before)} times in the file:\n{before}"
    return source.replace(before, after)


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Path:
    """Return a copy of the project with every block of the page put where its head says."""
    copy = tmp_path_factory.mktemp("house")
    for folder in ("src", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    blocks = _BLOCK.findall(PAGE)
    assert {path.split("/")[2] for _, path, _ in blocks} >= {"attacks", "certificates", "training"}
    for kind, name, body in blocks:
        path = copy / name
        path.write_text(body if kind == "python" else applied(path.read_text(), body))
    return copy


@pytest.mark.parametrize("arguments", _COMMAND.findall(PAGE))
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
    places = {name.split("/")[2] for _, name, _ in _BLOCK.findall(PAGE)}
    assert len(_COMMAND.findall(PAGE)) == len({room for room in places if not room.endswith(".py")})
