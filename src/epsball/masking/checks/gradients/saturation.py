"""A loss whose gradient underflows where the margin's does not."""

from epsball.masking.check import Answer, Check, inconclusive
from epsball.masking.measurements.gradients import gradients
from epsball.masking.trial import Trial

MOST_SATURATED = 0.2
"""Share of examples."""


def ask(trial: Trial) -> Answer:
    """Count the examples at which the gradient of the cross-entropy is exactly zero and the margin's is not."""
    found = trial.measured(gradients)
    if found is None or found.facts.absent:
        return inconclusive("the gradients of loss and margin could not be compared")
    share = float(found.facts.saturated.double().mean())
    return Answer(
        outcome="fails" if share >= MOST_SATURATED else "passes",
        measured=f"the cross-entropy's gradient underflows on {share:.2f} of {len(found.rows)} examples",
        values={"saturated": share},
    )


CHECK = Check(
    name="saturated loss",
    question="Does the gradient of the cross-entropy underflow where that of the margin does not?",
    threshold=f"{MOST_SATURATED} of the examples; decides nothing by itself",
    source="Carlini and Wagner 2017 on defensive distillation",
    advice="attack with a loss of differences of logits: 'apgd,loss=margin', 'apgd-t', or 'ensemble'",
    ask=ask,
)
