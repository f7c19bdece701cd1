"""``epsball landscape``."""

import json

import pyarrow
import pytest

from epsball.cli import main


@pytest.mark.slow
def test_figures_numbers_and_page_are_written(card, surrogate, tmp_path, capsys):
    words = ["landscape", str(card), "digits,split=test", "--ball", "linf:0.1", "--against", str(surrogate)]
    assert main([*words, "--examples", "1", "--points", "9", "--method", "pgd", "--out", str(tmp_path)]) == 0
    assert "--examples N draws more" in capsys.readouterr().out
    document = json.loads((tmp_path / "landscape.json").read_text())
    assert list(document) == [str(card), str(surrogate)]
    assert (tmp_path / "landscape.png").read_bytes()[:4] == b"\x89PNG"
    assert "<svg" in (tmp_path / "landscape.svg").read_text()
    assert "<script" not in (tmp_path / "landscape.html").read_text()
    with pyarrow.ipc.open_file(str(tmp_path / "points.arrow")) as table:
        assert table.read_all().num_rows == 2 * 81


def test_numbers_are_printed_without_a_folder(card, capsys):
    words = ["landscape", str(card), "digits,split=test", "--ball", "linf:0.1", "--examples", "1", "--points", "5"]
    assert main([*words, "--method", "pgd", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["directions"] == ["gradient", "witness"]


def test_a_direction_nobody_knows_is_bad_input(card, capsys):
    words = ["landscape", str(card), "digits,split=test,first=1", "--ball", "linf:0.1", "--directions", "gradient,rand"]
    assert main(words) == 2
    assert "random" in capsys.readouterr().err
