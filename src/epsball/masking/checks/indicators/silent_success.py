"""Indicator 3: silent success."""

from epsball.masking.check import Answer, Check, inconclusive
from epsball.masking.measurements.path import path
from epsball.masking.trial import Trial


def ask(trial: Trial) -> Answer:
    """Count ways that pass a witness and do not end at one."""
    found = trial.measured(path)
    if found is None:
        return inconclusive("too few examples could be followed")
    share = float(found.silent.double().mean())
    return Answer(
        outcome="fails" if share > 0 else "passes",
        measured=f"plain PGD passes a witness and ends elsewhere on {share:.2f} of {len(found.rows)} examples",
        values={"share": share},
    )


CHECK = Check(
    name="indicator: silent success",
    question="Is an adversarial point on the way that the attack's last point is not?",
    threshold="any example, as published; decides nothing by itself, since our attacks keep the best point",
    source="Pintor et al. 2022, indicator 3",
    advice="return the best point of the way, not the last",
    ask=ask,
)
