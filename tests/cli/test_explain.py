"""Pages: every registered name has one, with what its docstring and its registry say; unknown names get near ones."""

import json

import pytest

from epsball import errors
from epsball.attacks import ATTACKS
from epsball.auditing import links, meanings
from epsball.auditing.evidence import VERDICTS
from epsball.auditing.gating.conditions import NAMES
from epsball.auditing.link import Link
from epsball.certificates import ALIASES, METHODS
from epsball.cli import main
from epsball.cli.exit_codes import EXIT_CODES
from epsball.cli.explaining.kinds import KINDS, pages
from epsball.masking import verdict
from epsball.masking.checks.registry import CHECKS
from epsball.mistakes import MISTAKES
from epsball.training import OBJECTIVES

PAGES = {(page.kind, page.name): page for page in pages()}
LINKS = [link for link in vars(links).values() if isinstance(link, type) and issubclass(link, Link)]
REGISTERED = {
    "attack": [*ATTACKS, "collision", "transfer"],
    "objective": OBJECTIVES,
    "bound": [*METHODS, *ALIASES, "auto"],
    "check": [check.name for check in CHECKS],
    "verdict": [*VERDICTS, *verdict.VERDICTS],
    "condition": NAMES,
    "mistake": MISTAKES,
    "error": [name for name, kind in vars(errors).items() if isinstance(kind, type) and name.endswith("Error")],
    "exit code": map(str, EXIT_CODES),
    "column": [name for link in LINKS for name in (*link.schema, *link.run_schema)],
}
OWN = {"ensemble", "collision", "standard", "auto"}
"""What comes from no paper."""


@pytest.mark.parametrize("kind", KINDS)
def test_every_registered_name_has_a_page(kind):
    for name in REGISTERED[kind]:
        page = PAGES[kind, name]
        assert page.text.strip()
        assert "`" not in str(page)


@pytest.mark.parametrize("kind", ["attack", "objective", "bound", "check"])
def test_pages_of_methods_name_their_source_and_their_file(kind):
    for (of, name), page in PAGES.items():
        if of == kind and name not in OWN:
            assert page.parts.get("source"), name
            assert page.file.startswith("epsball/"), name


def test_meanings_are_of_what_there_is():
    assert tuple(meanings.VERDICTS) == VERDICTS
    assert tuple(verdict.MEANINGS) == verdict.VERDICTS
    there = set(REGISTERED["column"]) | {"index", "label", "prediction", "verdict", "invalid.reason"}
    assert set(meanings.COLUMNS) <= there | {"attack.gradients", "attack.notes"}


def test_exit_codes_are_those_of_the_errors():
    codes = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    assert codes <= set(EXIT_CODES)
    assert "InputError" in PAGES["exit code", "2"].parts["errors"]


def test_the_command(capsys):
    assert main(["explain"]) == 0
    said = capsys.readouterr().out
    assert all(kind in said for kind in KINDS)
    assert main(["explain", "pgd"]) == 0
    said = capsys.readouterr().out
    assert "pgd (attack)" in said
    assert "pgd (objective)" in said
    assert "what it tells, and what not:" in said
    assert main(["explain", "exit", "codes"]) == 0
    assert "130" in capsys.readouterr().out
    assert main(["explain", "MIN_ROBUST", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "min_robust"


def test_unknown_names_get_near_ones(capsys):
    assert main(["explain", "crwn"]) == 2
    assert "there is no page 'crwn'. Did you mean 'crown'" in capsys.readouterr().err
    assert main(["explain", "zzzzzzzzzz"]) == 2
    assert "epsball explain lists" in capsys.readouterr().err
