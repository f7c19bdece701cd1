"""Pages that are made from the registries and from the chapter's results are those of today."""

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


def test_the_gallery_is_that_of_the_results():
    assert (DOCS / "gallery.md").read_text() == gallery.page()


def test_every_item_is_in_the_gallery():
    assert {path.stem for path in (DOCS / "chapter").glob("*.json")} == {item.name for item in ITEMS}


def test_long_tables_are_told_by_the_shares_of_verdicts():
    short, numbers = {"a": [1, 2]}, {"y": [0.5] * 30}
    tables = {"short": short, "long": {"x": [True, False] * 15, **numbers}, "none": numbers}
    assert gallery.condensed(tables) == {"short": short, "long": {"rows": 30, "shares": {"x": 0.5}}}
