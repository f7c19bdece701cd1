"""Reports of a gate: SARIF at the line that asks, summaries and JUnit that any text fits into."""

import json
from fractions import Fraction
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from epsball.auditing.gating import Condition, Decision, Gate, Place, to_sarif
from epsball.auditing.gating.result import LONGEST
from epsball.toml_files import line_of


def gate(*answers, why="", notes=()):
    names = ("min_robust", "min_certified", "min_under_attack")
    decisions = tuple(
        Decision(condition=Condition.of(name, Fraction(1, 2)), answer=answer, counted=3, why=why)
        for name, answer in zip(names, answers, strict=False)
    )
    options = {"drawn": 16, "total": 100, "alpha": 0.05, "verdicts": {"certified": 3}, "about": {}}
    return Gate(answer="fail", decisions=decisions, notes=tuple(notes), **options)


LINES = {
    "[gate]\n# min_robust = 1\nmin_robust = 0.9 # min_robust\n": 3,
    'x = """\n[gate]\nmin_robust = 1\n"""\n[gate]\nmin_robust = 0.9\n': 6,
    "gate.min_robust = 0.9\n": 1,
    "a = 1\ngate = {alpha = 0.1, min_robust = 0.9}\n": 2,
    '[other]\nmin_robust = 1\n\n[gate]\r\n"min_robust" = "0.9"\r\n': 5,
    "[other]\nmin_robust = 1\n": None,
    "gate = 3 # min_robust\n": None,
}


@pytest.mark.parametrize("text", LINES)
def test_the_line_of_a_key_is_told_from_what_looks_like_it(text):
    assert line_of(text, ["gate", "min_robust"]) == LINES[text]


def check_log(log):
    """Check what the schema of SARIF 2.1.0 demands of the parts that are written."""
    assert set(log) <= {"$schema", "version", "runs"}
    assert log["version"] == "2.1.0"
    for run in log["runs"]:
        assert set(run) <= {"tool", "invocations", "originalUriBaseIds", "results"}
        driver = run["tool"]["driver"]
        assert isinstance(driver["name"], str)
        ids = [rule["id"] for rule in driver["rules"]]
        assert len(set(ids)) == len(ids)
        for rule in driver["rules"]:
            assert set(rule) <= {"id", "shortDescription", "fullDescription", "defaultConfiguration"}
            assert all(isinstance(rule[name]["text"], str) for name in ("shortDescription", "fullDescription"))
        for invocation in run["invocations"]:
            assert isinstance(invocation["executionSuccessful"], bool)
        for result in run["results"]:
            assert set(result) <= {"ruleId", "ruleIndex", "kind", "level", "message", "locations"}
            assert ids[result["ruleIndex"]] == result["ruleId"]
            assert result["kind"] == "fail" or result["level"] == "none"
            assert result["level"] in ("none", "note", "warning", "error")
            assert result["message"]["text"]
            for location in result["locations"]:
                physical = location["physicalLocation"]
                assert physical["region"]["startLine"] >= 1
                artifact = physical["artifactLocation"]
                assert " " not in artifact["uri"]
                assert artifact.get("uriBaseId", "SRCROOT") in run["originalUriBaseIds"]


def test_sarif_points_at_what_asks_for_what_is_not_met(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "a b.toml"
    file.write_text("[gate]\nmin_robust = 0.5\nmin_certified = 0.5\n")
    places = {name: Place.of(file, ("gate", name)) for name in ("min_robust", "min_certified")}
    log = json.loads(to_sarif(gate("pass", "fail", "cannot tell", notes=["a note"]), places))
    check_log(log)
    failed, untold = log["runs"][0]["results"]
    assert (failed["ruleId"], failed["level"], untold["level"]) == ("min_certified", "error", "warning")
    assert failed["locations"][0]["physicalLocation"]["region"]["startLine"] == 3
    assert unquote(failed["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]) == "a b.toml"
    assert untold["locations"] == []
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    log = json.loads(to_sarif(gate("fail"), places))
    assert log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == file.as_uri()


def test_a_gate_that_passes_has_no_results():
    log = json.loads(to_sarif(gate("pass", "pass"), {}))
    check_log(log)
    assert log["runs"][0]["results"] == []


def test_what_an_error_says_fits_into_every_report():
    said = gate("fail", why="a|b\nc\x1b[0m\x00", notes=["x|\x07" + "y" * 300_000])
    summary = said.to_markdown()
    assert "a\\|b c" in summary
    assert len(summary.encode()) <= LONGEST
    assert summary.endswith("... (cut)\n")
    case = ElementTree.fromstring(said.to_junit().partition("\n")[2])[0]
    assert case[0].attrib["message"].endswith("a|b c [0m")
    check_log(json.loads(to_sarif(said, {})))


def test_what_cannot_be_told_is_no_error_where_it_passes():
    untold = gate("cannot tell", "pass")
    suite = ElementTree.fromstring(untold.to_junit().partition("\n")[2])
    assert (suite.attrib["errors"], suite.attrib["skipped"]) == ("1", "0")
    suite = ElementTree.fromstring(untold.to_junit("pass").partition("\n")[2])
    assert (suite.attrib["errors"], suite[0][0].tag) == ("0", "skipped")
    log = json.loads(to_sarif(untold, {}, "pass"))
    assert log["runs"][0]["results"][0]["level"] == "note"
