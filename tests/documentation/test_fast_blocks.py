"""Commands of pages that take seconds run as written, in an empty folder, and print what the page shows."""

import re
import shlex

import pytest

from epsball.cli import main
from pages import ROOT

COMMANDS = re.compile(r"^    (\$ )?epsball (.+?)(?:\s+# .*)?\n((?:    (?!\$ |epsball ).+\n)*)", re.MULTILINE)
PROJECT = '[gate]\nmin_robst = 0.3\nmodel = "mlp"\ndata = "digits"\nball = "linf:0.1"\n'


def lines(page, *, without=()):
    """Return the command lines of a page, each with what the page shows below it."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = [(line.strip(), shown if prompt else "") for prompt, line, shown in COMMANDS.findall(text)]
    return [(line, shown) for line, shown in found if not any(word in line for word in without)]


@pytest.mark.parametrize(("line", "shown"), lines("command_line.md", without=["--install-completion"]))
def test_the_command_lines_page(line, shown, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    if line == "gate":
        (tmp_path / "epsball.toml").write_text(PROJECT)
    code = main(shlex.split(line))
    printed = capsys.readouterr()
    assert code == (2 if "error:" in shown else 0)
    wanted = "".join(part.removeprefix("    ") for part in shown.splitlines(keepends=True))
    assert " ".join(wanted.split()) in " ".join((printed.out + printed.err).split())


def test_completion_for_a_named_shell(capsys, tmp_path):
    target = tmp_path / "epsball.fish"
    assert main(["--install-completion", "--shell", "fish", "--output", str(target)]) == 0
    assert "epsball" in target.read_text()


@pytest.mark.parametrize("line", ["certify mlp,hidden=20:12 digits,first=3 --ball linf:0.05 --logits 1"])
def test_a_command_of_the_polytopes_page(line, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert line in (ROOT / "docs" / "polytopes.md").read_text(encoding="utf-8")
    assert main(shlex.split(line)) == 0
    assert capsys.readouterr().out
