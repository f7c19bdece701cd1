"""Pages that are made from the registries and from the chapter's results are those of today."""

import json

import pytest

import cheat_sheet
import choose
import gallery
from epsball.chapter.registry import ITEMS
from pages import ROOT

DOCS = ROOT / "docs"


def test_the_cheat_sheet_is_that_of_the_registries():
    assert (DOCS / "cheat_sheet.md").read_text() == cheat_sheet.page() + "\n"


def test_the_tables_to_choose_from_are_those_of_the_registries(capsys):
    choose.main()
    assert capsys.readouterr().out == (DOCS / "choose.md").read_text()


@pytest.mark.parametrize("item", [item.name for item in ITEMS if (DOCS / "chapter" / f"{item.name}.json").exists()])
def test_the_gallery_says_what_the_results_say(item):
    found = json.loads((DOCS / "chapter" / f"{item}.json").read_text())
    assert "\n".join(gallery.section(item, found)) in (DOCS / "gallery.md").read_text()
