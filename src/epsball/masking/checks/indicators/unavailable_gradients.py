"""Indicator 1: unavailable gradients."""

from epsball.masking.check import Answer, Check, inconclusive
from epsball.masking.measurements.gradients import gradients
from epsball.masking.trial import Trial


def ask(trial: Trial) -> Answer:
    """Look for gradients of the loss that are zero or absent."""
    found = trial.measured(gradients)
    if found is None:
        return inconclusive("too few examples could be looked at")
    facts = found.facts
    share = float((facts.zero | facts.saturated).double().mean())
    fails = facts.absent or share > 0
    return Answer(
        outcome="fails" if fails else "passes",
        measured="no gradient reaches the input"
        if facts.absent
        else f"the loss has none on {share:.2f} of the examples",
        values={"share": share},
    )


CHECK = Check(
    name="indicator: unavailable gradients",
    question="Can the gradient of the attack's loss be computed, and is it nowhere zero?",
    threshold="any zero gradient, as published; decides nothing by itself",
    source="Pintor et al. 2022, indicator 1",
    advice="attack with a surrogate gradient or another loss",
    ask=ask,
)
