"""The gate: its answers follow the whole audit's, its order is keyed, its reports say what was decided."""

import json
from fractions import Fraction
from xml.etree import ElementTree

import pytest
import torch

import epsball as eb
from auditing.cases import NEAR, detached
from epsball.auditing.effort import effort_of
from epsball.auditing.gating import Condition
from epsball.auditing.gating.drawing import Drawing, looking
from epsball.auditing.gating.gate import _order
from epsball.cli import main
from epsball.data import load
from epsball.errors import InputError, ModelError
from epsball.workers import Workers
from epsball.workers.threads import threads
from helpers import Wrapped

BALL = eb.Ball("linf", "0.02")


def half_plane(n=100, near=0.1):
    """Return a linear classifier of y > x, and points of which a share `near` lies within the ball's reach."""
    draws = torch.Generator().manual_seed(0)
    gap = torch.where(torch.arange(n) < near * n, 0.01, 0.3)
    x = torch.rand(n, 2, generator=draws) * 0.5 + 0.1
    x[:, 1] = x[:, 0] + gap
    return eb.Classifier(torch.nn.Flatten()), x, torch.ones(n, dtype=torch.int64)


@pytest.mark.parametrize(("share", "answer"), [("0.8", "pass"), ("0.9", "pass"), ("0.91", "fail"), ("1", "fail")])
def test_the_answer_is_that_of_all_examples(share, answer):
    classifier, x, y = half_plane()
    found = eb.gate(classifier, (x, y), BALL, min_robust=share)
    assert found.answer == answer
    assert found.exit_code == {"pass": 0, "fail": 10}[answer]


def test_a_clear_answer_takes_few_examples():
    classifier, x, y = half_plane(1000)
    assert eb.gate(classifier, (x, y), BALL, min_robust="0.5").drawn < 100
    assert eb.gate(classifier, (x, y), BALL, min_robust="1").drawn < 100


def test_robust_accuracy_that_is_known_from_one_side_only_cannot_be_told():
    _, x, y = half_plane(32, near=0.0)

    class Opaque(torch.nn.Module):  # no certificate can be made of it
        def forward(self, x):
            return torch.tensor(x.detach().numpy().copy()) + 0 * x

    found = eb.gate(eb.Classifier(Opaque()), (x, y), BALL, min_robust="0.9")
    assert found.answer == "cannot tell"
    assert found.exit_code == 11
    assert "no certificates" in str(found)


def test_misclassified_and_invalid_examples_count_for_nothing():
    classifier, x, y = half_plane(32, near=0.0)
    y[:16] = 0
    found = eb.gate(classifier, (x, y), BALL, min_certified="0.5")
    assert found.answer == "pass"
    assert eb.gate(classifier, (x, y), BALL, min_certified="17/32").answer == "fail"


def test_every_condition_must_be_met():
    classifier, x, y = half_plane(64, near=0.25)
    found = eb.gate(classifier, (x, y), BALL, min_certified="0.5", min_robust="0.9")
    assert {d.condition.name: d.answer for d in found.decisions}["min_robust"] == "fail"
    assert found.answer == "fail"
    untold = [decision for decision in found.decisions if decision.answer == "cannot tell"]
    assert all("another condition had failed" in decision.why for decision in untold)


def test_what_cannot_be_examined_for_masking_cannot_be_told(monkeypatch):
    def failing(trial):
        raise eb.ModelError("the model fails beyond the ball.")

    monkeypatch.setattr("epsball.auditing.examination.diagnosis_of", failing)
    classifier, x, y = half_plane(32, near=0.0)
    found = eb.gate(classifier, (x, y), BALL, min_under_attack="0.5")
    assert found.answer == "cannot tell"
    assert "could not be examined: the model fails beyond the ball." in str(found)


@pytest.mark.slow
def test_what_stands_under_attack_does_not_pass_where_gradients_are_masked():
    classifier, x, y = detached()
    found = eb.gate(classifier, (x, y), NEAR, min_under_attack="0.05")
    (decision,) = found.decisions
    assert decision.answer != "pass"
    assert "mask" in decision.why


def test_the_order_is_a_function_of_what_is_decided_about():
    about = {"model": "a", "data": "b", "ball": "c", "effort": "quick", "seed": 0}
    assert _order(100, about) == _order(100, dict(about))
    assert _order(100, about) != _order(100, about | {"model": "b"})
    assert sorted(_order(100, about)) == list(range(100))


def test_the_same_gate_gives_the_same_answer_on_the_same_examples():
    classifier, x, y = half_plane(100)
    first, second = (eb.gate(classifier, (x, y), BALL, min_robust="0.85") for _ in range(2))
    assert first.to_json() == second.to_json()


def test_thresholds_are_exact_ceilings():
    assert Condition.of("min_robust", "0.9").threshold(1000) == 900
    assert Condition.of("min_robust", 0.9).threshold(1000) == 900
    assert Condition.of("min_robust", Fraction(1, 3)).threshold(10) == 4


@pytest.mark.parametrize("share", ["0", "1.1", "-0.5", "x", 2])
def test_shares_outside_the_unit_interval_are_refused(share):
    classifier, x, y = half_plane(16)
    with pytest.raises(InputError, match="min_robust is .*a share of the examples, in "):
        eb.gate(classifier, (x, y), BALL, min_robust=share)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.5, float("nan"), None])
def test_probabilities_outside_the_unit_interval_are_refused(alpha):
    classifier, x, y = half_plane(16)
    if alpha is None:  # by default 0.05
        assert eb.gate(classifier, (x, y), BALL, min_certified=0.1).alpha == 0.05
        return
    with pytest.raises(InputError, match="alpha is .*strictly between 0 and 1"):
        eb.gate(classifier, (x, y), BALL, min_robust=0.5, alpha=alpha)


def test_no_examples_and_no_logits_are_refused_and_one_class_or_example_is_decided():
    classifier, x, y = half_plane(32, near=0.0)
    with pytest.raises(InputError, match="at least one example"):
        eb.gate(classifier, (x[:0], y[:0]), BALL, min_robust=0.5)
    nothing = eb.Classifier(Wrapped(lambda module, x: x * torch.nan))
    with pytest.raises(ModelError, match="NaN or infinite"):
        eb.gate(nothing, (x, y), BALL, min_robust=0.5)
    assert eb.gate(classifier, (x[:1], y[:1]), BALL, min_certified=1).answer == "pass"  # also one class
    part = eb.Classifier(Wrapped(lambda module, x: torch.where(x[:, :1] > 0.35, torch.nan, x)))
    found = eb.gate(part, (x, y), BALL, min_certified=1)
    assert (found.answer, found.verdicts.get("invalid", 0) > 0) == ("fail", True)


def test_a_gate_without_a_condition_is_refused():
    classifier, x, y = half_plane(16)
    with pytest.raises(InputError, match="needs one of min_robust, min_certified, min_under_attack"):
        eb.gate(classifier, (x, y), BALL)


def test_reports_name_conditions_and_answers():
    classifier, x, y = half_plane(64, near=0.25)
    found = eb.gate(classifier, (x, y), BALL, min_certified="0.5", min_robust="0.9")
    suite = ElementTree.fromstring(found.to_junit().partition("\n")[2])
    assert suite.attrib["failures"] == "1"
    assert {case.attrib["name"] for case in suite} == {"min_robust", "min_certified"}
    assert found.to_markdown().startswith("### robustness gate: fail")
    assert "| min robust | at least 0.9 | fail |" in found.to_markdown()


def test_the_command_line(tmp_path, capsys):
    command = ["gate", "mlp,hidden=8", "digits,first=32", "--ball", "linf:0.01", "--min-robust", "0.99"]
    reports = ["--junit", str(tmp_path / "r.xml"), "--summary", str(tmp_path / "s.md")]
    assert main([*command, *reports]) == 10
    assert "fail: about these 32 examples" in capsys.readouterr().out
    assert (tmp_path / "r.xml").exists()
    assert (tmp_path / "s.md").read_text().startswith("### robustness gate: fail")
    assert main([*command, "--json"]) == 10
    assert json.loads(capsys.readouterr().out)["answer"] == "fail"
    assert main([*command[:-1], "2"]) == 2


@pytest.mark.slow
def test_the_answer_is_the_same_for_any_number_of_workers():
    classifier, x, y = half_plane(200)
    options = {"min_robust": "0.6", "min_certified": "0.5"}
    with threads(1):
        alone = eb.gate(classifier, (x, y), BALL, **options)
    assert eb.gate(classifier, (x, y), BALL, **options, workers=2) == alone
    assert 16 < alone.drawn < 200


@pytest.mark.slow
def test_what_a_look_raises_is_raised_when_its_turn_comes():
    classifier, x, y = half_plane(48)
    x[20] = 2.0  # outside the box, which a look finds out
    drawing = Drawing(order=range(48), seed=0, effort=effort_of("quick"), proofs=True, baseline=None)
    drawn = drawing.of(classifier, load((x, y)), BALL, None)
    for sharing in (None, Workers(count=2)):
        with looking(drawn, drawing, load((x, y)), sharing) as looks:
            assert len(next(looks)) == 16
            with pytest.raises(InputError, match="max 2"):
                next(looks)
