"""Running items: what is written, what is kept, what goes on."""

import contextlib
import csv
import json
import threading
import time
from dataclasses import replace

import pytest

from epsball.chapter import laboratory, reproduction
from epsball.chapter.claim import Claim, Decision
from epsball.chapter.item import Item
from epsball.chapter.registry import find
from epsball.errors import InputError
from epsball.figures import new_figure


def measure(laboratory):
    """Return a table that tells what it was asked."""
    return {"numbers": {"value": [1, float("nan")], "size": [laboratory.size, "x"]}}


def drawn(tables):
    """Return an empty figure."""
    return new_figure(2.0, 2.0)


def decided(tables):
    """Return a decision about the first value."""
    return Decision(verdict="reproduced", sentence=f"value {tables['numbers']['value']}")


CLAIM = Claim(name="one", says="Something.", criterion="It is so.", decide=decided, truth="So it is.")
ITEM = Item(name="toy", section="17.1", title="A toy", claims=(CLAIM,), measure=measure, draw=drawn)


@pytest.fixture
def only(monkeypatch):
    """Let `find` return these items."""

    def choose(*items):
        monkeypatch.setattr(reproduction, "find", lambda names: items)

    return choose


def test_an_item_writes_numbers_figure_and_findings(only, tmp_path):
    only(ITEM)
    found = reproduction.reproduce(out=tmp_path)
    assert found.to_json()["findings"][0]["verdict"] == "pattern"  # the small size states no more
    assert {path.name for path in (tmp_path / "toy").iterdir()} == {
        *("numbers.json", "numbers.csv", "findings.json", "figure.png", "figure.svg")
    }
    with (tmp_path / "toy" / "numbers.csv").open() as file:
        assert list(csv.reader(file)) == [["value", "size"], ["1", "fast"], ["", "x"]]
    page = (tmp_path / "README.md").read_text()
    assert "## 17.1 A toy" in page
    assert "**pattern**: value [1, None]" in page
    assert "truth: So it is." in page


def test_what_is_measured_is_not_measured_again(only, tmp_path):
    only(ITEM)
    first = reproduction.reproduce(out=tmp_path)

    def fail(laboratory):
        raise AssertionError

    fail.__module__ = measure.__module__
    only(replace(ITEM, measure=fail))
    assert reproduction.reproduce(out=tmp_path).to_json() == first.to_json()


def test_another_seed_is_measured_anew(only, tmp_path):
    only(ITEM)
    reproduction.reproduce(out=tmp_path)
    reproduction.reproduce(out=tmp_path, seed=1)
    assert json.loads((tmp_path / "toy" / "numbers.json").read_text())["identity"]["seed"] == 1


def test_a_folder_of_another_size_is_refused_and_kept(only, tmp_path):
    only(ITEM)
    reproduction.reproduce(out=tmp_path)
    before = (tmp_path / "toy" / "numbers.json").read_bytes()
    found = reproduction.reproduce(out=tmp_path, size="full")
    assert "is of size fast, not full" in found.failed["toy"]
    assert (tmp_path / "toy" / "numbers.json").read_bytes() == before


def test_an_item_that_fails_does_not_stop_the_others(only, tmp_path):
    def fail(laboratory):
        raise InputError("no such data")

    only(replace(ITEM, name="bad", measure=fail), ITEM)
    found = reproduction.reproduce(out=tmp_path)
    assert found.failed == {"bad": "InputError: no such data"}
    assert [item.name for item in found.found] == ["toy"]
    assert "failed: bad: InputError: no such data" in str(found)


def test_what_trainings_cost_is_counted_over_the_folder_and_not_in_the_item(only, tmp_path):
    def train(laboratory):
        for name in ("one", "two", "one"):
            laboratory.trained_once(name, lambda: sum(range(200_000)))
        return {"numbers": {"value": [1], "size": ["x"]}}

    only(replace(ITEM, measure=train))
    found = reproduction.reproduce(out=tmp_path)
    assert set(found.trainings) == {"one", "two"}
    assert str(found).splitlines()[-1].startswith("2 networks trained in 0 CPU-s; the longest training, ")
    assert reproduction.told({}) == ""
    assert reproduction.told({"one": 2.0, "two": None}) == (
        "2 networks trained in 2 CPU-s; the longest training, one, took 2.0 CPU-s; "
        "without the time of 1, which went on after a kill"
    )
    assert reproduction.reproduce(out=tmp_path).to_json() == found.to_json()


@pytest.mark.parametrize(
    ("name", "verdicts"),
    [
        ("gaussian", ["pattern", "pattern", "false as stated", "pattern"]),
        ("strictness", ["pattern", "false as stated"]),
        ("figure-17.3", ["pattern"]),
        ("update", ["pattern"]),
    ],
)
def test_items_of_mathematics_find_what_is_known(name, verdicts, tmp_path):
    (item,) = find([name])
    found = reproduction.reproduce([name], out=tmp_path)
    assert not found.failed
    assert [found.found[item][claim.name].verdict for claim in item.claims] == verdicts


def test_a_larger_size_is_about_larger_data_or_says_which_are_missing(tmp_path):
    found = reproduction.reproduce(["trades-divergence"], out=tmp_path, size="default")
    assert "mnist is needed" in found.failed["trades-divergence"]
    assert "--mnist DIR" in found.failed["trades-divergence"]


def test_items_on_workers_find_the_same(tmp_path):
    names = ["figure-17.3", "update", "strictness"]
    here = reproduction.reproduce(names, out=tmp_path / "here")
    shared = reproduction.reproduce(names, out=tmp_path / "shared", workers=2)
    assert shared.to_json() == here.to_json()
    for path in (tmp_path / "here").rglob("*.csv"):
        assert (tmp_path / "shared" / path.relative_to(tmp_path / "here")).read_bytes() == path.read_bytes()
    assert (tmp_path / "shared" / "README.md").read_bytes() == (tmp_path / "here" / "README.md").read_bytes()


def test_two_that_need_a_network_train_it_once(tmp_path, monkeypatch):
    trained = []

    def train(one, folders, place, seed):
        time.sleep(0.3)
        trained.append(one.name)
        (place / one.name).mkdir()
        (place / one.name / "facts.json").touch()

    monkeypatch.setattr(laboratory, "train_base", train)
    monkeypatch.setattr(laboratory, "trained", lambda one, place: None)
    monkeypatch.setattr(laboratory.models, "load", lambda text: None)

    def ask():
        with contextlib.suppress(AttributeError):
            laboratory.Laboratory(size="fast", out=tmp_path).network("standard")

    both = [threading.Thread(target=ask) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert len(trained) == 1
