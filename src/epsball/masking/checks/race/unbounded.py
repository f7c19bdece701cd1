"""An attack without bounds."""

from epsball.masking.check import Answer, Check, inconclusive
from epsball.masking.checks.settled import severity_of_signs
from epsball.masking.measurements.wider import wider
from epsball.masking.trial import Trial

MOST = 0.25
"""Share of the standing examples tried."""


def ask(trial: Trial) -> Answer:
    """Report the share that a search of the whole box leaves standing."""
    found = trial.measured(wider)
    if found is None:
        return inconclusive("too few examples stand, or no passes are left")
    fails = found.unbounded >= MOST
    severity, why = severity_of_signs(trial)
    return Answer(
        outcome="fails" if fails else "passes",
        measured=f"{found.unbounded:.2f} of {found.tried} standing examples stand in the whole box"
        f"{why if fails else ''}",
        severity=severity if fails else "none",
        values={"standing": found.unbounded},
    )


CHECK = Check(
    name="unbounded attack",
    question="Does a gradient attack that may go anywhere in the box break everything?",
    threshold=f"{MOST} of the standing examples stand; a fact where gradients are useless and the attack finds planted "
    "witnesses",
    source="Carlini et al. 2019, section 5; Athalye, Carlini and Wagner 2018, section 3.1",
    advice="the search is what fails, not the model that withstands: attack by queries or with a surrogate",
    ask=ask,
)
