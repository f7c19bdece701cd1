"""Comparing folders of runs: within each ball that all of them have, and p-values adjusted over the balls."""

import json

import pytest

import epsball as eb
from auditing.recorded_runs import N, recorded, recorded_radii
from epsball.auditing import compare_by_ball
from epsball.cli import main
from epsball.errors import InputError
from epsball.paired import holm

A = {"0.1": {"broken": range(6), "certified": range(30, 40)}, "0.2": {"broken": range(12)}}
B = {"0.1": {"broken": range(10)}, "0.2": {"broken": range(24)}, "0.3": {"broken": range(30)}}


@pytest.fixture
def two(tmp_path):
    return recorded_radii(tmp_path / "a", A), recorded_radii(tmp_path / "b", B, network="b")


def test_each_common_ball_is_compared_and_the_others_are_named(two):
    found = compare_by_ball(two)
    assert list(found.comparisons) == ["linf:0.1", "linf:0.2"]
    assert found.notes == ("not compared, since some lack it: linf-0.3",)
    assert "linf-0.3" in str(found)
    attack = {
        ball: {d.place: d for d in c.differences}["accuracy under attack"] for ball, c in found.comparisons.items()
    }
    assert [d.value for d in attack.values()] == pytest.approx([4 / N, 12 / N])


def test_values_are_those_of_the_runs_and_p_values_are_adjusted_over_the_balls(two):
    a, b = two
    found = compare_by_ball(two)
    alone = [d for ball in ("0.1", "0.2") for d in eb.compare([a / f"linf-{ball}", b / f"linf-{ball}"]).differences]
    together = [d for comparison in found.comparisons.values() for d in comparison.differences]
    assert [d.discordance for d in together] == [d.discordance for d in alone]
    assert [d.adjusted for d in together] == holm([d.discordance.p for d in alone])


def test_tables_and_examples_name_the_ball(two):
    found = compare_by_ball(two)
    assert found.to_arrow().column_names[0] == found.examples().column_names[0] == "ball"
    assert set(found.examples()["ball"].to_pylist()) == {"linf:0.1", "linf:0.2"}
    assert list(found.to_json()["balls"]) == ["linf:0.1", "linf:0.2"]


def test_the_command_line(two, tmp_path, capsys):
    for form, said in (
        ("text", "accuracy under attack"),
        ("markdown", "| linf:0.2 | "),
        ("latex", "tabular"),
        ("csv", "ball"),
    ):
        assert main(["compare", *map(str, two), "--table", form]) == 0
        assert said in capsys.readouterr().out
    assert main(["compare", *map(str, two), "--table", "json", "--out", str(tmp_path / "out")]) == 0
    assert set(json.loads(capsys.readouterr().out)["balls"]) == {"linf:0.1", "linf:0.2"}
    assert "linf:0.2" in (tmp_path / "out" / "examples.csv").read_text()


def test_methods_by_their_seeds(tmp_path, capsys):
    groups = {
        name: [recorded_radii(tmp_path / f"{name}{seed}", of, network=f"{name}{seed}") for seed in range(4)]
        for name, of in (("a", A), ("b", B))
    }
    found = compare_by_ball(groups)
    attack = {m.place: m for m in found.comparisons["linf:0.2"].methods}["accuracy under attack"]
    assert attack.better == "a"
    assert attack.p == pytest.approx(2 / 70)
    texts = [f"{name}={','.join(map(str, folders))}" for name, folders in groups.items()]
    assert main(["compare", *texts]) == 0
    assert "runs: a: 4, b: 4" in capsys.readouterr().out


def test_folders_of_one_name_are_told_apart_by_their_paths(tmp_path):
    folders = [recorded_radii(tmp_path / place / "runs", of, network=place) for place, of in (("x", A), ("y", B))]
    comparison = compare_by_ball(folders).comparisons["linf:0.1"]
    assert [run.name for run in comparison.runs] == [str(folder) for folder in folders]


def test_what_has_nothing_in_common_is_refused(two, tmp_path, capsys):
    a, _ = two
    other = recorded_radii(tmp_path / "c", {"0.5": {}}, network="c")
    single = recorded(tmp_path / "single")
    with pytest.raises(InputError, match="have no ball in common"):
        compare_by_ball([a, other])
    with pytest.raises(InputError, match="is not a folder of runs"):
        compare_by_ball([a, single])
    with pytest.raises(InputError, match="given twice"):
        compare_by_ball([a, a])
    with pytest.raises(InputError, match="needs two"):
        compare_by_ball([a])
    assert main(["compare", str(a), str(single)]) == 2
    assert "holds runs within several balls" in capsys.readouterr().err
