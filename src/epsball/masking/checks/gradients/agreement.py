"""Whether the margin changes as its gradient says."""

from epsball.masking.check import Answer, Check, inconclusive
from epsball.masking.checks.settled import severity_of_signs
from epsball.masking.measurements.gradients import gradients
from epsball.masking.trial import Trial

MOST_MISLEADING = 0.2
"""Share of examples."""


def ask(trial: Trial) -> Answer:
    """Count the examples whose gradient misleads."""
    found = trial.measured(gradients)
    if found is None:
        return inconclusive("too few examples could be looked at, or the model is random")
    if found.facts.absent:
        return inconclusive("the model passes no gradient")
    share = float(found.facts.misleading.double().mean())
    near, far = (float(column.median()) for column in (found.facts.near, found.facts.far))
    fails = share >= MOST_MISLEADING
    severity, why = severity_of_signs(trial)
    return Answer(
        outcome="fails" if fails else "passes",
        measured=f"misleading on {share:.2f} of {len(found.rows)} examples; median disagreement {near:.2f} at 2% and "
        f"{far:.2f} at 25% of the radius{why if fails else ''}",
        severity=severity if fails else "none",
        values={"misleading": share, "near": near, "far": far},
    )


CHECK = Check(
    name="gradient agreement",
    question="Does the margin change along random directions as its gradient says, at 2% and at 25% of the radius?",
    threshold=f"misleading on {MOST_MISLEADING} of the examples; a fact where the attack finds planted witnesses",
    source="finite differences; thresholds measured (docs/masking.md)",
    advice="attack with another gradient: 'adaptive', a surrogate, or 'spsa' and 'square', which need none",
    ask=ask,
)
