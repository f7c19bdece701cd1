"""The reference of Python: every method has a page, with a formula, and the items that use it."""

import re
import sys
import tomllib

import pytest

from epsball.attacks import ATTACKS
from epsball.certificates import METHODS
from epsball.training import OBJECTIVES
from pages import ROOT

DOCS = ROOT / "docs"
LISTED = set(re.findall(r"^   ([\w.]+)$", (DOCS / "api.md").read_text(), re.MULTILINE))
FORMULAS = tomllib.loads((DOCS / "formulas.toml").read_text())

NAMES = {
    *(f"attacks.{attack.__name__}" for attack in ATTACKS.values()),
    *(f"training.{objective.__name__}" for objective in OBJECTIVES.values()),
    *(f"certificates.{method.bound.__name__}" for method in METHODS.values()),
}
COMPOSED = {
    *("MinimumNorm", "AutoAttack", "RandomisedAutoAttack", "Ensemble", "Adaptive"),
    *("Distilled", "TargetedFAB", "Square"),
}
"""Attacks made of attacks, or of draws: words say what they do, not a formula."""


def test_every_method_has_a_page():
    assert NAMES <= LISTED


def test_every_method_that_a_formula_defines_shows_it():
    assert {name for name in NAMES if name.partition(".")[2] not in COMPOSED} <= set(FORMULAS) <= LISTED


def test_pages_list_the_items_that_use_what_they_are_about(monkeypatch):
    pytest.importorskip("sphinx")
    pytest.importorskip("myst_parser")
    monkeypatch.setattr(sys, "path", [str(DOCS / "_ext"), *sys.path])
    from chapter_items import items_by_name

    used = items_by_name()
    assert used["attacks.AutoAttack"] == used["training.KGB17"] == ["table-17.1"]
    assert used["certificates.lp"] == used["certificates.lipschitz"] == ["logit-bounds", "bounds"]
    assert used["landscape"] == ["figure-17.1"]
    assert "attacks.NES" not in used
