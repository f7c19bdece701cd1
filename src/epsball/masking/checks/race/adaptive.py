"""The adaptive attack against the plain one."""

from epsball.masking.check import Answer, Check, inconclusive
from epsball.masking.checks.race.shares import MOST, share_of
from epsball.masking.measurements.escalation import escalation
from epsball.masking.trial import Trial


def ask(trial: Trial) -> Answer:
    """Count what the adaptive attack, or the ensemble's own surrogate gradients, broke."""
    tried = [attempt for attempt in trial.measured(escalation) if attempt.name == "adaptive"]
    found = share_of(trial, "adaptive", "surrogate gradients")
    if not tried and found.outcome == "passes":
        return inconclusive("not tried: gradients are not useless")
    return found


CHECK = Check(
    name="adaptive against plain",
    question="Does an attack with surrogate gradients break what plain PGD does not?",
    threshold=f"{MOST} of the examples; counted in the race against plain PGD",
    source="Athalye, Carlini and Wagner 2018 (BPDA); Tramèr et al. 2020",
    advice="attack with 'adaptive', or write the defence's own surrogate ('bpda')",
    ask=ask,
)
