"""``epsball chapter``."""

import json

from epsball.chapter.registry import ITEMS
from epsball.cli import main


def test_list_names_every_item(capsys):
    assert main(["chapter", "list"]) == 0
    printed = capsys.readouterr().out
    assert all(item.name in printed for item in ITEMS)


def test_list_as_json_says_how_claims_are_decided(capsys):
    assert main(["chapter", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == sum(len(item.claims) for item in ITEMS)
    assert all(row["decided"] for row in rows)


def test_run_writes_a_page_and_prints_findings(capsys, tmp_path):
    assert main(["chapter", "run", "update", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "pattern" in printed
    assert (tmp_path / "README.md").exists()


def test_an_unknown_item_names_the_nearest(capsys, tmp_path):
    assert main(["chapter", "run", "updat", "--out", str(tmp_path)]) == 2
    assert "'update'" in capsys.readouterr().err
