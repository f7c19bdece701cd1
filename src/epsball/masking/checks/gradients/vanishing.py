"""Gradients that are zero, not finite, or not there."""

from epsball.masking.check import Answer, Check, inconclusive
from epsball.masking.checks.settled import severity_of_signs
from epsball.masking.measurements.gradients import gradients
from epsball.masking.trial import Trial

MOST_VANISHING = 0.2
"""Share of examples."""


def ask(trial: Trial) -> Answer:
    """Count the examples at which the margin's gradient is zero, not finite or absent."""
    found = trial.measured(gradients)
    if found is None:
        return inconclusive("too few examples could be looked at, or the model is random")
    zero, bad = float(found.facts.zero.double().mean()), float(found.facts.bad.double().mean())
    fails = max(zero, bad) >= MOST_VANISHING
    severity, why = severity_of_signs(trial)
    what = (
        "no gradient reaches the input"
        if found.facts.absent
        else f"exactly zero on {zero:.2f}, not finite on {bad:.2f}"
    )
    return Answer(
        outcome="fails" if fails else "passes",
        measured=f"{what} of {len(found.rows)} examples{why if fails else ''}",
        severity=severity if fails else "none",
        values={"zero": zero, "bad": bad, "absent": float(found.facts.absent)},
    )


CHECK = Check(
    name="vanishing gradients",
    question="Are gradients of the margin there, finite and different from zero?",
    threshold=f"zero, or not finite, on {MOST_VANISHING} of the examples; a fact where the attack finds planted "
    "witnesses",
    source="Athalye, Carlini and Wagner 2018, section 3 (shattered gradients)",
    advice="attack with a surrogate gradient ('adaptive'), or by queries ('square')",
    ask=ask,
)
