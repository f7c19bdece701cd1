"""Measured numbers: bound to their files, rewritten from them, never bare."""

import json
import re

import pytest

import bare_numbers
import evidence
import measured

FILE = {
    "command": "python run.py",
    "machine": "two cores",
    "date": "2026-11-01",
    "methods": {"ensemble": 1},
    "values": {
        "share": {"value": 0.0893, "what": "share", "unit": "share", "n": 1000, "interval": [0.0724, 0.1085]},
        "time": {"value": 1494.2, "what": "time", "unit": "s"},
        "count": {"value": 9, "what": "found", "n": 12},
        "negative": {"value": -0.25, "what": "bound"},
    },
}


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "EVIDENCE", tmp_path)
    evidence._document.cache_clear()
    (tmp_path / "a.json").write_text(json.dumps(FILE))
    yield tmp_path / "a.json"
    evidence._document.cache_clear()


def mark(path, kind="measured"):
    return f"<!-- {kind}: a.json#{path} -->"


def test_every_number_of_the_documentation_is_as_its_file_says():
    assert measured.main(check=True) == 0


def test_no_measured_number_stands_bare():
    assert bare_numbers.complaints() == []


def test_every_value_has_what_a_reader_needs_and_is_used():
    used = {
        (found["file"], found["path"])
        for path in evidence.documents()
        for found in evidence.MARK.finditer(path.read_text(encoding="utf-8"))
    }
    for path in evidence.EVIDENCE.glob("*.json"):
        for name in evidence.evidence_names(path.name):
            found = evidence.measured(path.name, name)
            assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", found.date)
            low, high = found.interval or (found.value, found.value)
            assert any(low <= value <= high for value in (found.value, found.value / (found.n or 1)))
            assert (path.name, name) in used, f"{path.name}#{name} stands nowhere"


@pytest.mark.parametrize(
    ("stood", "stands"),
    [
        (f"of 7.1%{mark('share')} of", f"of 8.9%{mark('share')} of"),
        (f".1234{mark('share')}", f".0893{mark('share')}"),
        (
            f"0.5{mark('share')} [0.1, 0.2]{mark('share', 'interval')}",
            f"0.1{mark('share')} [0.1, 0.1]{mark('share', 'interval')}",
        ),
        (f"took 3 s{mark('time')}", f"took 1,494 s{mark('time')}"),
        (f"took 1,100.5{mark('time')}", f"took 1,494.2{mark('time')}"),
        (f"**1 of 2{mark('count')}**", f"**9 of 12{mark('count')}**"),
        (f"is -1.00{mark('negative')}", f"is -0.25{mark('negative')}"),
        (f"on 2020-01-01{mark('time', 'date')}", f"on 2026-11-01{mark('time', 'date')}"),
    ],
)
def test_a_number_keeps_its_style_and_takes_the_value_of_its_file(file, stood, stands):
    assert evidence.rewritten(stood) == stands
    assert evidence.rewritten(stands) == stands


@pytest.mark.parametrize(
    "text",
    [
        f"nothing{mark('share')}",
        "1<!-- measured: no.json#a -->",
        f"1{mark('gone')}",
        f"[1, 2]{mark('time', 'interval')}",
    ],
)
def test_a_mark_that_says_nothing_is_an_error(file, text):
    with pytest.raises(evidence.EvidenceError):
        evidence.rewritten(text)


def test_a_number_of_an_older_version_is_marked_until_it_is_measured_again(file, monkeypatch):
    monkeypatch.setattr(evidence, "method_version", lambda name: 2)
    old = evidence.rewritten(f"3 s{mark('time')}")
    assert old == f"1,494 s{mark('time')}{evidence.OLD}"
    assert evidence.rewritten(old) == old
    assert "version 1 of ensemble, now 2" in evidence.measured("a.json", "time").outdated
    monkeypatch.setattr(evidence, "method_version", lambda name: 1)
    assert evidence.rewritten(old) == f"1,494 s{mark('time')}"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("It takes 3.2 s and keeps 92.4% of them.", ["3.2 s", "92.4%"]),
        ("It is 3 times\nfaster, or two times.", ["3 times", "two times"]),
        ("at a tenth of AutoAttack's cost", ["a tenth of AutoAttack's cost"]),
        (f"It takes 3.2 s{mark('time')}.", []),
        ("49.14%<!-- published: TRADES 2019, Table 5 --> and 60 s<!-- setting -->", []),
        ("`--cpu-seconds 5 s`\n\n    sleep 5 s\n\n```\n5 s\n```\n", []),
        ("1,000 examples, radius 0.1, 8/255", []),
    ],
)
def test_what_is_bare(text, numbers):
    assert [found for _, found in bare_numbers.bare(text, {})] == numbers


def test_examples_in_docstrings_are_not_prose():
    source = 'def f():\n    """Take 5 s.\n\n    >>> f()\n    \'7 s\'\n    """\n'
    assert [found for _, found in bare_numbers.bare(bare_numbers.docstrings(source), {})] == ["5 s"]
