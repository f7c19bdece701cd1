"""Indicator 6: unconstrained attack failure."""

from epsball.masking.check import Answer, Check, inconclusive
from epsball.masking.measurements.wider import wider
from epsball.masking.trial import Trial


def ask(trial: Trial) -> Answer:
    """Report the share that a search without bound leaves standing."""
    found = trial.measured(wider)
    if found is None:
        return inconclusive("too few examples stand, or no passes are left")
    return Answer(
        outcome="fails" if found.unbounded > 0 else "passes",
        measured=f"{found.unbounded:.2f} of {found.tried} standing examples stand in the whole box",
        values={"share": found.unbounded},
    )


CHECK = Check(
    name="indicator: unconstrained attack failure",
    question="Does an attack without bound always succeed?",
    threshold="any failure, as published; decides nothing by itself",
    source="Pintor et al. 2022, indicator 6",
    advice="attack by queries or with a surrogate",
    ask=ask,
)
