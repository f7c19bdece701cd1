"""Whether curvature helps where gradients do not."""

from epsball.masking.check import Answer, Check, inconclusive
from epsball.masking.measurements.escalation import escalation
from epsball.masking.trial import Trial

MOST_FELL = 0.02
"""Share of all examples."""


def ask(trial: Trial) -> Answer:
    """Count what the second-order attack broke of what first-order attacks left."""
    attempt = next((found for found in trial.measured(escalation) if found.name == "second-order"), None)
    if attempt is None:
        return inconclusive("not tried: nothing called for it, or gradients are useless")
    share = attempt.fell / len(trial.x)
    fails = share >= MOST_FELL
    return Answer(
        outcome="fails" if fails else "passes",
        measured=f"it broke {attempt.fell} of {attempt.tried} standing examples",
        values={"fell": share},
    )


CHECK = Check(
    name="second order",
    question="Does a second-order attack break what first-order attacks leave?",
    threshold=f"{MOST_FELL} of the examples; what it breaks counts in the race against plain PGD",
    source="Moré and Sorensen 1983 (trust regions), with gradients a finite distance apart",
    advice="attack with 'second-order'",
    ask=ask,
)
