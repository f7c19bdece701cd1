"""How strongly the margin is curved."""

from epsball.masking.check import Answer, Check, inconclusive
from epsball.masking.measurements.shape import shape
from epsball.masking.trial import Trial


def ask(trial: Trial) -> Answer:
    """Report the curvature."""
    found = trial.measured(shape)
    if found is None:
        return inconclusive("not measured")
    measured = f"median {found.curvature:.3g} of {found.examples} examples"
    return Answer(outcome="inconclusive", measured=measured, values={"curvature": found.curvature})


CHECK = Check(
    name="curvature",
    question="How strongly is the margin curved between points of the ball?",
    threshold="none: honest and masked networks overlap",
    source="Moosavi-Dezfooli et al. 2019, by finite differences",
    advice="look at the landscape; 'second-order' makes use of curvature",
    ask=ask,
)
