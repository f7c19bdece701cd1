"""The page of several balls: accuracy against the radius, and of each run that is not drawn the reason."""

import json

import pytest

import epsball as eb
from epsball.errors import InputError
from report.folders import RADII, write_run, write_series
from report.parsed import Parsed, parsed

MIXED = ["certified", "broken", "undecided", "misclassified", "invalid"] * 4


def test_runs_beside_it_give_accuracy_against_radius(tmp_path):
    write_series(tmp_path)
    write_run(tmp_path / "another network", MIXED, identity={"network": "sha256:other", "ball": "linf:1/510"})
    made = eb.page(tmp_path)
    assert made.folder.name == "linf-4_255"
    page = Parsed(made.html)
    assert "3 runs of this network on these examples" in page.said
    assert "Accuracy at 3 radii ; the rest of this page is about linf:4/255." in page.said
    for cell in (*RADII, "87.5% [20.0%, 100.0%]"):
        assert cell in page.said
    assert "Not drawn" not in page.said


def test_runs_that_are_missing_unfinished_damaged_or_of_another_schema_are_named(tmp_path):
    write_series(tmp_path, (*RADII, "8/255", "16/255", "32/255"))
    write_series(tmp_path, ("0.5",), norm="l2")
    (tmp_path / "linf-8_255" / "chain.json").unlink()
    (tmp_path / "linf-16_255" / "run.json").write_text("{")
    (tmp_path / "linf-32_255" / "manifest.json").write_text(json.dumps({"schema": 99, "files": {}}))
    names = [folder.name for folder in tmp_path.iterdir()]
    runs = {name: {"ball": "", "manifest": None} for name in [*names, "linf-64_255"]}
    (tmp_path / "runs.json").write_text(json.dumps({"schema": 1, "runs": runs}))
    made = eb.page(tmp_path)
    assert made.folder.name == "linf-4_255"
    page = Parsed(made.html)
    assert "Not drawn: 5 other runs in this folder." in page.said
    for said in (
        "l2-0.5 another norm, l2",
        "linf-8_255 it is not finished",
        "linf-16_255 its run.json cannot be read",
        "linf-32_255 holds a run of schema 99",
        "linf-64_255 its folder is missing",
    ):
        assert said in page.said
    assert str(tmp_path) not in made.html


def test_of_a_folder_without_a_finished_run_the_page_is_partial(tmp_path):
    write_series(tmp_path, RADII)
    for radius in RADII:
        (tmp_path / f"linf-{radius.replace('/', '_')}" / "chain.json").unlink()
    page = parsed(tmp_path)
    assert "Partial." in page.said
    assert "audited and finished within one ball" not in page.said.split("Not drawn")[1]
    for radius in RADII:
        (tmp_path / f"linf-{radius.replace('/', '_')}" / "run.json").write_text("{")
    with pytest.raises(InputError, match="that can be read"):
        eb.page(tmp_path)


def test_two_folders_are_compared_within_the_largest_ball_that_both_have(tmp_path):
    first = write_series(tmp_path / "a", RADII)
    second = write_series(tmp_path / "b", (*RADII[:2], "8/255"), network="sha256:m")
    page = parsed(first, second)
    assert "From a/linf-2_255 to b/linf-2_255" in page.said
    assert "Dashed: a/linf-2_255, 3 runs." in page.said
    for run in ("a/linf-4_255", "b/linf-8_255"):
        assert run in page.said
    (second / "linf-2_255" / "chain.json").unlink()
    assert "From a/linf-1_255 to b/linf-1_255" in parsed(first, second).said
    assert "From linf-1_255 to" in parsed(first / "linf-1_255", second).said.replace("a/", "")
    with pytest.raises(InputError, match="another ball"):
        eb.page(first, write_series(tmp_path / "c", ("1/510",)))


def test_one_ball_names_the_command_for_more(tmp_path):
    folder = write_run(tmp_path / "run", MIXED, identity={"ball": "linf:0.1,low=-1.0,high=1.0"})
    about = json.loads((folder / "about.json").read_text())
    command = "epsball audit 'my net.onnx' npz:d.npz --ball linf:0.1,low=-1,high=1 --out out/run"
    (folder / "about.json").write_text(json.dumps(about | {"command": command}))
    said = parsed(folder).said
    expected = (
        "epsball audit 'my net.onnx' npz:d.npz --ball linf:0.1,low=-1.0,high=1.0 --radii 0.05,0.2 --out out/run-radii"
    )
    assert " ".join(expected.split()) in said
    assert "verify-run out/run" not in said  # it has no manifest yet


def test_the_least_and_the_most_of_a_change_are_those_of_the_second_run(tmp_path):
    first = write_run(tmp_path / "first", ["broken"] * 10)
    second = write_run(tmp_path / "second", ["certified"] * 4 + ["undecided"] * 6)
    said = parsed(first, second).said
    assert said.index("robust accuracy, at least") < said.index("robust accuracy, at most")
    assert "robust accuracy, at least +40.0" in said
    assert "robust accuracy, at most +100.0" in said
