"""The power of the attack, by planted witnesses."""

from epsball.masking.check import Answer, Check, inconclusive
from epsball.masking.planted import LEAST_SHARE, power
from epsball.masking.trial import Trial


def ask(trial: Trial) -> Answer:
    """Report the share found."""
    if trial.random or trial.batch:
        return inconclusive("needles are not planted in models that are random or depend on the batch")
    found = trial.measured(power)
    if found is None:
        return inconclusive("too little stands, no needle could be planted, or no passes are left")
    fails = found.share < LEAST_SHARE
    return Answer(
        outcome="fails" if fails else "passes",
        measured=f"{found.attack}: {found}",
        severity="suspect" if fails else "none",
        values={"share": found.share, "low": found.interval.low, "high": found.interval.high},
    )


CHECK = Check(
    name="planted witnesses",
    question="What share of adversarial examples that are known to be there does the attack find?",
    threshold=f"less than {LEAST_SHARE}",
    source="Zimmermann et al. 2022 (the binarisation test)",
    advice="the attack is too weak for this model: take a stronger one before reporting a number",
    ask=ask,
)
