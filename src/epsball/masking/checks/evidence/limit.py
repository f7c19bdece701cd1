"""Accuracy under attack against what the data allow any classifier."""

from epsball.masking.check import Answer, Check, inconclusive
from epsball.masking.measurements.ceiling import TOLERANCE, ceiling
from epsball.masking.trial import Trial

MASKED = 0.05
"""Share of all examples, beyond what is possible, from which witnesses are missed wholesale."""


def ask(trial: Trial) -> Answer:
    """Compare the evaluation's accuracy with the ceiling."""
    found = trial.measured(ceiling)
    if found is None:
        return inconclusive("one label only, or too many examples to compare all pairs")
    evaluated = trial.accuracy[trial.evaluation.name] - float(trial.evaluation.natural.isnan().double().mean())
    excess = evaluated - found.accuracy
    fails = excess > TOLERANCE
    return Answer(
        outcome="fails" if fails else "passes",
        measured=f"{evaluated:.4f} withstood the evaluation; no classifier can keep more than {found.accuracy:.4f}",
        severity="none" if not fails else "masked" if excess >= MASKED else "suspect",
        values={"ceiling": found.accuracy, "excess": max(0.0, excess)},
    )


CHECK = Check(
    name="what the data allow",
    question="Is accuracy under attack at most what the data allow any classifier at this radius?",
    threshold=f"any excess is proof that the attack missed a witness; masked from {MASKED}",
    source="optimal adversarial risk (docs/limits.md)",
    advice="attack with 'collision', which tries the points that examples of two labels share",
    ask=ask,
)
