"""What lies beside the evidence in a run's folder: a landscape, a similarity, and the commands that put them there."""

import json
import re
import shlex

import pytest

from epsball.cli import main
from report.folders import write_run
from report.parsed import parsed

MIXED = ["certified", "broken", "undecided", "misclassified", "invalid"] * 4


def test_a_landscape_in_the_folder_is_shown_and_nothing_else_of_it(tmp_path):
    folder = write_run(tmp_path / "run", MIXED)
    bad = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9" onload="alert(1)"><script>alert(1)</script>'
        '<a href="http://x"><text x="1" y="2" style="fill: #0072b2" onclick="x()">slice</text></a>'
        '<text x="1" y="2" style="fill: #0072b2; position: fixed">margin</text></svg>'
    )
    (folder / "landscape.svg").write_text(bad)
    page = parsed(folder)
    assert "margin" in page.said
    painted = next(a for tag, a in page.tags if tag == "text" and a.get("fill") == "#0072b2")
    assert painted["class"] == "f-blue"
    assert not [a for _, a in page.tags if "onload" in a or "onclick" in a]
    (folder / "landscape.svg").write_text("no drawing")
    assert "no landscape lies in the run's folder" in parsed(folder).said


def test_a_similarity_in_the_folder_is_shown(tmp_path):
    folder = write_run(tmp_path / "run", MIXED)
    (folder / "similarity.csv").write_text("layer,one,two\nfirst,1.0,0.25\n")
    assert "first 1.000 0.250" in parsed(folder).said


def test_a_landscape_has_its_table_and_says_its_ball(tmp_path):
    folder = write_run(tmp_path / "run", MIXED)
    (folder / "landscape").mkdir()
    svg = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><text x="1" y="2">slice</text></svg>'
    (folder / "landscape" / "landscape.svg").write_text(svg)
    names = ("value", "gradient_norm", "change", "first", "gamma", "bend", "cosine")
    numbers = {name: [0.25, None] for name in names}
    document = {"ball": "linf:1/255", "label": [3, 1], "numbers": {"margin": numbers}}
    (folder / "landscape" / "landscape.json").write_text(json.dumps(document))
    page = parsed(folder)
    assert "The margin around each example, in numbers" in page.said
    assert "#0 3 0.25 0.25" in page.said
    assert "#1 1 – –" in page.said
    assert "Within linf:1/255, not the linf:8/255 of this run." in page.said
    (folder / "landscape" / "landscape.json").write_text("[1]")
    assert "slice" in parsed(folder).said


def test_a_similarity_names_its_models_and_what_is_undefined(tmp_path):
    folder = write_run(tmp_path / "run", MIXED)
    (folder / "similarity.csv").write_text("layer,one,two\nfirst,1.0,\n")
    (folder / "similarity.json").write_text(json.dumps({"models": ["a.onnx", "b.onnx"]}))
    page = parsed(folder)
    assert "Layers of a.onnx upwards, of b.onnx to the right." in page.said
    assert "first 1.000 undefined" in page.said


def test_a_similarity_with_the_runs_of_several_balls_is_that_of_each(tmp_path):
    folder = write_run(tmp_path / "linf-0.1", MIXED)
    (tmp_path / "similarity.csv").write_text("layer,one\nfirst,0.5\n")
    assert "compared with no other one" in parsed(folder).said
    (tmp_path / "runs.json").write_text(json.dumps({"schema": 1, "runs": {}}))
    assert "first 0.500" in parsed(folder).said


@pytest.mark.slow
def test_the_commands_that_a_page_names_run_and_fill_it(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    audit = ["audit", "mlp", "digits,split=test,first=6", "--ball", "linf:0.01", "--attack", "fgsm", "--no-limit"]
    assert main([*audit, "--certificates", "none", "--quiet", "--out", "runs/here"]) == 0
    page = parsed("runs/here")
    named = re.findall(r"epsball (?:landscape|similarity) .*?epsball report runs/here", page.said)
    assert len(named) == 2
    for commands in named:
        for command in re.split(r" (?=epsball)", commands):
            words = shlex.split(command.replace(" OTHER ", " mlp "))[1:]
            assert main([*words, *(["--points", "5", "--method", "fgsm"] if words[0] == "landscape" else [])]) == 0
    capsys.readouterr()
    page = parsed("runs/here")
    assert "The margin around each example, in numbers" in page.said
    assert "Layers of mlp upwards, of mlp to the right." in page.said
