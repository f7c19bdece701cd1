"""Random corners against everything before them."""

from epsball.masking.check import Answer, Check, inconclusive
from epsball.masking.measurements.corners import corners
from epsball.masking.trial import Trial

MOST_FELL = 0.05
"""Share of the standing examples tried."""


def ask(trial: Trial) -> Answer:
    """Count standing examples that fell to a handful of corners."""
    found = trial.measured(corners)
    if found.tried == 0:
        return inconclusive("nothing stands that could be tried, or no passes are left")
    fails = found.fell >= 2 and found.fell >= MOST_FELL * found.tried
    return Answer(
        outcome="fails" if fails else "passes",
        measured=f"{found.fell} of {found.tried} standing examples fell",
        severity="suspect" if fails else "none",
        values={"fell": found.fell / found.tried},
    )


CHECK = Check(
    name="random corners",
    question="Do a few random corners, constant on blocks, break what the evaluation left standing?",
    threshold=f"{MOST_FELL} of the standing examples, at least 2",
    source="Carlini et al. 2019, section 5 (random points); structured as in the ensemble's starts",
    advice="the evaluation missed what chance finds: give it queries and restarts",
    ask=ask,
)
