"""Indicator 5: transfer failure."""

from epsball.masking.check import Answer, Check, inconclusive
from epsball.masking.measurements.escalation import escalation
from epsball.masking.trial import Trial


def ask(trial: Trial) -> Answer:
    """Report how many of a surrogate's points do not work here; without one the attack sees the model itself."""
    if trial.surrogate is None:
        return Answer(outcome="passes", measured="attacks search the deployed model itself", values={"share": 0.0})
    attempt = next((found for found in trial.measured(escalation) if found.name == "transfer"), None)
    if attempt is None:
        return inconclusive("nothing stood that could be tried")
    share = 1.0 - attempt.fell / attempt.tried
    return Answer(
        outcome="fails" if share > 0.5 else "passes",
        measured=f"the surrogate's points fail on {share:.2f} of {attempt.tried} standing examples",
        values={"share": share},
    )


CHECK = Check(
    name="indicator: transfer failure",
    question="Do adversarial points of a surrogate fail on the deployed model?",
    threshold="half of the standing examples; decides nothing by itself",
    source="Pintor et al. 2022, indicator 5",
    advice="take a surrogate that is closer to the model",
    ask=ask,
)
