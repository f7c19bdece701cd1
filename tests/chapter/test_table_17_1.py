"""Table 17.1: its rows, and which are misprinted."""

from epsball.chapter.items.trades.table_17_1 import ITEM, MASKED, TRAINED


def test_the_table_has_thirteen_rows():
    assert len({row.name for row in (*MASKED, *TRAINED.values())}) == 13


def test_misprints_are_told_from_rows_as_cited():
    rows = (*MASKED, *TRAINED.values())
    table = {
        "defence": [row.name for row in rows],
        "chapter natural": [row.chapter[0] for row in rows],
        "chapter robust": [row.chapter[1] for row in rows],
        "source": ["" if row.source else "no such row" for row in rows],
        "source natural": [row.source[0] if row.source else None for row in rows],
        "source robust": [row.source[1] if row.source else None for row in rows],
    }
    decided = {claim.name: claim.decide({"table": table}) for claim in ITEM.claims if claim.name.startswith("row ")}
    assert {decision.verdict for decision in decided.values()} == {"misprinted"}
    assert "85.25" in decided["row KGB17"].sentence
    assert "no such row" in decided["row TRADES 1/lambda=2"].sentence
