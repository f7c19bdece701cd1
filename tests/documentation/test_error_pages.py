"""Pages of errors: one per mistake and class, reached from every message, and up to date."""

import subprocess
import sys

import pytest

import error_pages
from epsball.cli import main
from epsball.mistakes import MISTAKES, page_of

CLASSES = sorted(error_pages.CLASSES)


def test_every_mistake_and_class_has_a_page_and_no_other_is_there():
    there = {path.stem for path in error_pages.FOLDER.glob("*.md")}
    assert there == {*MISTAKES, *CLASSES, "index"}


def test_pages_say_what_the_registry_says():
    for name, mistake in MISTAKES.items():
        page = (error_pages.FOLDER / f"{name}.md").read_text()
        assert all(text in page for text in (mistake.title, mistake.why, *mistake.fix, f"epsball explain {name}"))
    assert (error_pages.FOLDER / "index.md").read_text() == error_pages.index()


@pytest.mark.slow
def test_pages_and_table_are_those_of_the_messages_of_today():
    command = [
        sys.executable,
        error_pages.__file__,
        "--check",
    ]  # Alone: jaxtyping's checks would come before the guards.
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", CLASSES)
def test_every_error_leads_to_a_page(name):
    kind = error_pages.CLASSES[name]
    error = kind("extra", "package", "it") if name == "MissingExtra" else kind("something no pattern knows")
    assert error.page in {*MISTAKES, *CLASSES}


@pytest.mark.parametrize("name", MISTAKES)
def test_the_command_line_explains_it(name, capsys):
    assert main(["explain", name]) == 0
    assert MISTAKES[name].title in capsys.readouterr().out


def test_a_message_names_its_page(capsys):
    assert main(["audit", "mlp", "digit", "--ball", "linf:0.1"]) == 2
    assert "See 'epsball explain unknown-name'." in capsys.readouterr().err
    assert page_of("InputError", "data text 'digit' does not name a kind") == "unknown-name"
