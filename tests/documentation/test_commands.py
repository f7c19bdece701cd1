"""Commands and Python of all pages: they are what the program takes today."""

import ast
import re
import shlex
import tomllib

import pytest
from rich.console import Console

from epsball.cli.app import app
from pages import ROOT

PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "evidence")]
WORDS = {"MODEL": "mlp", "DATA": "digits", "BALL": "linf:0.1"}
SYNOPSIS = re.compile(r", epsball|\[-|\[,|NAME\[|\.\.\.|\.\. |\.\.$|\w\|\w")
"""What stands for something: such a line is not a command to give."""


def commands(text):
    """Return the command lines of a page, each with whether an error is shown below it."""
    text = text.replace("\\\n", "")
    for found in re.finditer(r"^(?: {4})?(?:\$ )?epsball (\S.*)$(?=\n(.*))", text, re.MULTILINE):
        yield found[1].partition("  #")[0].partition(" # ")[0].strip(), "error:" in (found[2] or "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_are_taken(page):
    text = page.read_text(encoding="utf-8")
    from_a_file = "```toml" in text
    for line, refused in commands(text):
        if refused or SYNOPSIS.search(line):
            continue
        words = [WORDS.get(word, word) for word in shlex.split(line)]
        if from_a_file and words[0] == "gate" and len(words) > 1 and words[1].startswith("--"):
            words[1:1] = ["mlp", "digits", "--ball", "linf:0.1"]
        app.parse_args(words, console=Console(quiet=True), exit_on_error=False, print_error=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_options_in_synopses_are_there(page):
    for line, refused in commands(page.read_text(encoding="utf-8")):
        if refused or line.startswith("--"):
            continue
        verb = app[line.split()[0]]
        verb = verb if verb.default_command else verb[line.split()[1]]
        known = {name for argument in verb.assemble_argument_collection() for name in argument.names}
        known |= {"--help", *(name.replace("--", "--no-", 1) for name in known)}
        given = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", line.partition(", epsball")[0]))
        assert given <= known, f"{line}: {given - known}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_python_of_the_page_is_python(page):
    for block in re.findall(r"^```python.*?\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        ast.parse(block)


def test_every_page_with_examples_says_when_they_last_ran():
    known = tomllib.loads((ROOT / "docs" / "evidence" / "blocks.toml").read_text(encoding="utf-8"))
    said = {page for pages in known.values() for page in pages}
    texts = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
    asked = {name for name, text in texts.items() if any(commands(text)) or re.search("^```python", text, re.MULTILINE)}
    asked = {name for name in asked if not name.startswith("docs/errors/")}
    assert asked <= said
    assert all((ROOT / page).exists() for page in said)


def test_the_python_of_the_chapters_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "chapter.md").read_text(), re.DOTALL)
    exec(block, {})
    assert "gaussian" in capsys.readouterr().out
