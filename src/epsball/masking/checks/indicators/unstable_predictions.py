"""Indicator 2: unstable predictions."""

from epsball.masking.check import Answer, Check, inconclusive
from epsball.masking.measurements.instability import instability
from epsball.masking.trial import Trial

MOST = 0.1


def ask(trial: Trial) -> Answer:
    """Report the mean relative change of the loss at random points near the example, at most 1."""
    found = trial.measured(instability)
    if found is None:
        return inconclusive("too few examples could be looked at")
    return Answer(
        outcome="fails" if found.change > MOST else "passes",
        measured=f"the loss changes by {found.change:.2f} of itself, on {found.examples} examples",
        values={"change": found.change},
    )


CHECK = Check(
    name="indicator: unstable predictions",
    question="How much does the loss change at random points within half the radius?",
    threshold=f"{MOST}, as published; decides nothing by itself",
    source="Pintor et al. 2022, indicator 2",
    advice="average gradients over the ball (expectation over transformation)",
    ask=ask,
)
