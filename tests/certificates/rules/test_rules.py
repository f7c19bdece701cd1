"""Every rule holds on samples, and every mutant of a rule is seen not to."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from certificates.cases import CASES, Case, violations
from certificates.soundness import check_graph
from certificates.traps import TRAPS
from epsball.ball import Ball
from epsball.certificates import Box, propagation
from epsball.certificates.curves import LinearRelaxation, curve_of, linear_relaxation
from epsball.certificates.linear import relaxations
from epsball.certificates.rules.choosing import Selected
from epsball.certificates.rules.log_softmax import LogSoftmaxRelaxation
from epsball.certificates.rules.maxima import Peak
from epsball.certificates.rules.products import Factors
from epsball.certificates.rules.rule import BackwardBound
from epsball.certificates.rules.softmax import SoftmaxRelaxation
from epsball.certificates.rules.table import RULES


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_rule_holds_on_samples(case):
    assert list(violations(case)) == []


@dataclass(frozen=True)
class Mutant:
    """A rule with one thing changed."""

    rule: Any
    change: str

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rule, name)

    def interval(self, context, boxes):
        low, high = self.rule.interval(context, boxes)
        if self.change == "interval low":
            return type(boxes[0])(low + 0.2 * (high - low), high)
        if self.change == "interval high":
            return type(boxes[0])(low, high - 0.2 * (high - low))
        return type(boxes[0])(low, high)

    def relax(self, context, boxes):
        relaxation = self.rule.relax(context, boxes)
        kind, _, part = self.change.partition(" ")
        return _changed(relaxation, part) if kind == "relaxation" else relaxation

    def backward(self, context, relaxation, rows):
        found = self.rule.backward(context, relaxation, rows)
        if self.change == "backward sign":
            return BackwardBound([-part for part in found.rows], found.constant, found.error)
        if self.change == "backward constant":
            return BackwardBound(found.rows, -found.constant + 0.05 * rows.flatten(2).abs().sum(2), found.error)
        return found

    def error(self, context, boxes, box, format):
        return 0.0 if self.change == "error" else self.rule.error(context, boxes, box, format)


def _changed(relaxation: Any, part: str) -> Any:
    """Return a relaxation with one part moved the way that makes it claim more."""
    if isinstance(relaxation, tuple) and not hasattr(relaxation, "_fields"):
        return (_changed(relaxation[0], part), *relaxation[1:])
    if isinstance(relaxation, SoftmaxRelaxation):
        return relaxation._replace(exponential=_changed(relaxation.exponential, part))
    if isinstance(relaxation, LogSoftmaxRelaxation):
        return relaxation._replace(logarithm=_changed(relaxation.logarithm, part))
    if part.startswith("rest "):
        return relaxation._replace(rest=_changed(relaxation.rest, part.removeprefix("rest ")))
    sign = {"lower": 1, "upper": -1, "intercept": -1, "at_low": -1, "at_high": 1}.get(part)
    if sign is not None:
        return relaxation._replace(**{part: getattr(relaxation, part) + 0.05 * sign})
    field, factor = part.rsplit(" ", 1)
    return relaxation._replace(**{field: getattr(relaxation, field) + float(factor)})


def _mutants(case: Case) -> list[str]:
    changes = ["interval low", "interval high", "backward sign", "backward constant"]
    context = case.context()
    ones = [torch.ones(1, *shape, dtype=torch.float64) for shape in case.shapes]
    boxes = [propagation.Box(0.4 * one, 1.3 * one) for one in ones]
    relaxation = RULES[type(case.kind)].relax(context, boxes)
    if isinstance(relaxation, tuple) and not hasattr(relaxation, "_fields"):
        relaxation = relaxation[0]
    parts = {
        LinearRelaxation: [
            "lower",
            "upper",
            "lower_slope 1.5",
            "lower_slope -1.5",
            "upper_slope 0.4",
            "upper_slope -0.4",
        ],
        SoftmaxRelaxation: ["lower", "upper", "lower_slope -0.3", "upper_slope 0.3"],
        LogSoftmaxRelaxation: ["lower", "upper", "lower_slope 0.3", "upper_slope -0.3"],
        Peak: ["intercept", "slope 0.3", "slope -0.3"],
        Factors: ["at_low", "at_high", "a_low 0.3", "b_low 0.3", "b_high -0.3"],
        Box: ["low 0.3", "high -0.3"],
        Selected: ["first 0.3", "rest low 0.3", "rest high -0.3"],
    }[type(relaxation)]
    if case.low >= 0:
        # The other direction claims less where x is positive.
        parts = [part for part in parts if part not in ("lower_slope -1.5", "upper_slope 0.4")]
    exact = {"negative", "relu", "abs", "max_pool", "max", "maximum", "minimum", "compare", "select", "round"}
    if case.name.split()[0] not in exact and case.name not in ("clamp 0.1 inf", "clamp -inf 0.25"):
        changes.append("error")
    if case.name == "compare":
        changes.remove("backward sign")  # it has no rows
    return [*changes, *(f"relaxation {part}" for part in parts)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_mutants_of_a_rule_are_killed(case):
    rule = RULES[type(case.kind)]
    assert [change for change in _mutants(case) if not any(violations(case, Mutant(rule, change)))] == []


SMOOTH = ["sigmoid", "tanh", "gelu", "gelu_tanh", "silu", "mish", "hardswish", "exp", "erf", "square", "sin", "cos"]


@given(st.sampled_from(SMOOTH), st.floats(-30, 10), st.floats(0, 30))
def test_lines_hold_on_a_grid(function, low, width):
    """No line crosses its curve by more than the grid's own rounding, over wide and over narrow intervals."""
    curve = curve_of(function, ())
    low, high = torch.tensor([low], dtype=torch.float64), torch.tensor([low + width], dtype=torch.float64)
    lines = linear_relaxation(curve, low, high)
    x = low + (high - low) * torch.linspace(0, 1, 1001, dtype=torch.float64)
    x = torch.minimum(x, high)
    value = curve.value(x)
    doubt = 2.0**-48 * (value.abs() + x.abs() * (1 + lines.lower_slope.abs() + lines.upper_slope.abs()) + 1)
    assert bool((lines.lower_slope * x + lines.lower <= value + doubt).all())
    assert bool((lines.upper_slope * x + lines.upper >= value - doubt).all())


@pytest.mark.parametrize(
    ("what", "trap"),
    [("rounding_at", "absorbed_60"), ("rounding_at", "absorbed_25"), ("deployed_rounding", "absorbed_25")],
)
def test_bounds_without_an_error_term_fall_into_a_trap(what, trap, monkeypatch):
    original = getattr(propagation, what)

    def without(*arguments):
        found = original(*arguments)
        return None if found is None else torch.zeros_like(found)

    monkeypatch.setattr(propagation, what, without)
    if what == "rounding_at":
        # What the intercepts of joined lines are moved by covers some of it.
        monkeypatch.setattr(relaxations, "SLACK", 0.0)
    with pytest.raises(AssertionError, match="claims"):
        check_graph(TRAPS[trap], torch.tensor([[0.5, 0.5]]), Ball("linf", "1/4"))
