"""How far the margin leaves its tangent."""

from epsball.masking.check import Answer, Check, inconclusive
from epsball.masking.measurements.shape import shape
from epsball.masking.trial import Trial


def ask(trial: Trial) -> Answer:
    """Report gamma."""
    found = trial.measured(shape)
    if found is None:
        return inconclusive("not measured")
    measured = f"median {found.gamma:.2f} of {found.examples} examples"
    return Answer(outcome="inconclusive", measured=measured, values={"gamma": found.gamma})


CHECK = Check(
    name="local linearity",
    question="How far does the margin leave its tangent in the ball, over the largest first-order change?",
    threshold="none: honest networks with smooth activations reach 1 and more",
    source="Qin et al. 2019, eq. (5)",
    advice="look at the landscape",
    ask=ask,
)
