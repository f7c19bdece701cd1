"""Comparing audits: what the tables say, against the verdicts they are made of, and what is refused."""

import json
from itertools import product

import pyarrow as pa
import pytest
from scipy.stats import binomtest

import epsball as eb
from auditing.recorded_runs import N, recorded
from epsball.cli import main
from epsball.errors import InputError
from epsball.results import arrow_bytes


@pytest.fixture
def two(tmp_path):
    a = recorded(tmp_path / "a", broken=range(10), certified=range(20, 40))
    b = recorded(tmp_path / "b", broken=range(5, 30), wrong=[0], certified=range(35, 40), network="b")
    return a, b


def test_every_place_is_tested_on_the_examples(two):
    found = {d.place: d for d in eb.compare(two).differences}
    assert list(found) == [
        "natural accuracy",
        "accuracy under attack",
        "certified accuracy",
        "robust accuracy, at least",
        "robust accuracy, at most",
    ]
    attack = found["accuracy under attack"]
    # a stands on 10..39; b on 1..4 and 30..39.
    assert (attack.discordance.only_a, attack.discordance.only_b) == (20, 4)
    assert attack.discordance.p == pytest.approx(binomtest(4, 24).pvalue)
    assert attack.value == pytest.approx(16 / 40)
    assert found["certified accuracy"].discordance.only_a == 15


def test_robust_accuracy_is_better_only_by_a_lower_end_against_an_upper_one(two):
    found = {d.place: d for d in eb.compare(two).differences}
    least, most = found["robust accuracy, at least"], found["robust accuracy, at most"]
    # certified by a: 20..39; standing in b: 1..4, 30..39.
    assert (least.discordance.only_a, least.discordance.only_b) == (10, 4)
    assert least.value <= most.value
    assert least.better is None  # 10 against 4 is no proof
    assert "which is better is not decided" in str(eb.compare(two))


def test_a_network_whose_certificates_beat_the_others_attack_is_better(tmp_path):
    a = recorded(tmp_path / "a", certified=range(40))
    b = recorded(tmp_path / "b", broken=range(30), network="b")
    found = eb.compare([a, b])
    assert {d.place: d.better for d in found.differences}["robust accuracy, at least"] == "a"
    assert "robust accuracy: a is better (a - b: at least 0.7500, at most 1.0000 on these examples)" in str(found)
    mirrored = eb.compare([b, a])
    assert {d.place: d.better for d in mirrored.differences}["robust accuracy, at most"] == "a"


def test_what_is_new_is_named_by_its_position_in_the_source(two):
    (changed,) = eb.compare(two).changed
    assert changed.newly_broken == tuple(10 * row for row in range(10, 30))
    assert changed.newly_certified == ()
    examples = eb.compare(two).examples()
    assert set(examples.column_names) == {"index", "label", "verdict.a", "verdict.b"}
    assert all(a != b for a, b in zip(*(examples[f"verdict.{n}"].to_pylist() for n in "ab"), strict=True))


def test_p_values_are_adjusted_over_places_and_pairs(two, tmp_path):
    c = recorded(tmp_path / "c", broken=range(12), network="c")
    alone = {(d.a, d.b, d.place): d for d in eb.compare(two).differences}
    among = {(d.a, d.b, d.place): d for d in eb.compare([*two, c]).differences}
    assert len(among) == 15
    for key, difference in alone.items():
        assert among[key].adjusted >= difference.adjusted
        assert difference.adjusted >= difference.discordance.p


def test_no_certificates_leave_places_out_and_say_so(tmp_path):
    folders = []
    for name in "ab":
        folder = recorded(tmp_path / name, broken=range(5), network=name)
        for file in folder.glob("evidence-*.arrow"):
            table = pa.ipc.open_file(str(file)).read_all().drop_columns(["certificate.certified"])
            file.write_bytes(arrow_bytes(table))
        folders.append(folder)
    found = eb.compare(folders)
    assert [d.place for d in found.differences] == ["natural accuracy", "accuracy under attack"]
    assert "not compared, no certificates" in str(found)


def seeds(tmp_path, name, sizes):
    return [
        recorded(tmp_path / f"{name}{seed}", broken=range(size), network=f"{name}{seed}")
        for seed, size in enumerate(sizes)
    ]


def test_methods_of_four_seeds_are_compared_by_all_assignments(tmp_path):
    found = eb.compare({"a": seeds(tmp_path, "a", (1, 2, 3, 4)), "b": seeds(tmp_path, "b", (11, 12, 13, 14))})
    attack = {m.place: m for m in found.methods}["accuracy under attack"]
    assert attack.p == pytest.approx(2 / 70)
    assert attack.better == "a"
    assert "exact permutation tests" in str(found)


def test_of_fewer_seeds_nothing_is_said_about_the_method(tmp_path):
    found = eb.compare({"a": seeds(tmp_path, "a", (1, 2, 3)), "b": seeds(tmp_path, "b", (11, 12, 13, 14))})
    assert all(m.p is None and m.better is None for m in found.methods)
    assert "Nothing is said about a method of fewer than 4 seeds (a)" in str(found)
    assert "these networks" in str(found)


def test_tables_have_every_format(two, tmp_path, capsys):
    for form, start in (("markdown", "| a | b | place |"), ("latex", r"\begin{tabular}"), ("csv", '"a","b","place"')):
        assert main(["compare", *map(str, two), "--table", form]) == 0
        assert capsys.readouterr().out.startswith(start)
    assert main(["compare", *map(str, two), "--table", "json", "--out", str(tmp_path / "out")]) == 0
    assert json.loads(capsys.readouterr().out)["examples"] == N
    written = {file.name for file in (tmp_path / "out").iterdir()}
    assert written == {"compare.md", "compare.tex", "compare.csv", "compare.json", "examples.csv"}


def test_methods_on_the_command_line(tmp_path, capsys):
    groups = {name: seeds(tmp_path, name, sizes) for name, sizes in (("a", (1, 2, 3, 4)), ("b", (5, 6, 7, 8)))}
    texts = [f"{name}={','.join(map(str, folders))}" for name, folders in groups.items()]
    assert main(["compare", *texts]) == 0
    assert "runs: a: 4, b: 4" in capsys.readouterr().out


def test_a_network_is_not_better_under_another_attack(tmp_path):
    a = recorded(tmp_path / "a", broken=range(30))
    b = recorded(tmp_path / "b", network="b", links={"attack": {"type": "FGSM"}})
    found = {d.place: d for d in eb.compare([a, b]).differences}["accuracy under attack"]
    assert found.adjusted < 0.001
    assert found.better is None
    assert "b was audited otherwise than a (attack: there PGD(), now FGSM())" in str(eb.compare([a, b]))


REFUSED = {
    "data": ({"data": "other"}, "is of other data than"),
    "ball": ({"ball": "linf:1/5"}, "is of another ball than"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_runs_of_other_data_or_balls_are_refused(case, tmp_path):
    options, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        eb.compare([recorded(tmp_path / "a"), recorded(tmp_path / "b", **options)])


def test_folders_without_a_finished_run_are_refused(tmp_path):
    whole, half = recorded(tmp_path / "a"), recorded(tmp_path / "b")
    (half / "chain.json").unlink()
    with pytest.raises(InputError, match="is not finished"):
        eb.compare([whole, half])
    with pytest.raises(InputError, match="does not hold a run"):
        eb.compare([whole, tmp_path / "nothing"])
    with pytest.raises(InputError, match="a comparison needs two"):
        eb.compare([whole])
    with pytest.raises(InputError, match="given twice"):
        eb.compare([whole, whole])
    (half / "chain.json").write_text("{}")
    (half / "evidence-00001.arrow").write_bytes(b"damaged")
    with pytest.raises(InputError, match="cannot be read"):
        eb.compare([whole, half])


@pytest.mark.parametrize("text", ["a=", "=b"])
def test_a_half_named_group_is_refused(text, capsys):
    assert main(["compare", text, "c=d"]) == 2
    assert "NAME=FOLDER,FOLDER" in capsys.readouterr().err


def test_real_audits_of_two_networks(tmp_path):
    import torch

    from helpers import mlp

    x, y = torch.rand(12, 16), torch.arange(12) % 4
    for seed, name in product((0, 1), "x"):
        classifier = eb.Classifier(mlp(seed=seed))
        options = {"attack": "fgsm", "certificates": "ibp", "limit": False}
        eb.audit(classifier, (x, y), eb.Ball("linf", 0.01), folder=tmp_path / f"{name}{seed}", **options)
    found = eb.compare([tmp_path / "x0", tmp_path / "x1"])
    assert len(found.differences) == 5
    assert found.to_json()["examples"] == 12
