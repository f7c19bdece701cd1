"""The evaluation itself against the best attack known after the diagnosis."""

from epsball.masking.check import Answer, Check, inconclusive
from epsball.masking.trial import Trial

MOST = 0.03
"""Share of all examples."""


def ask(trial: Trial) -> Answer:
    """Compare the accuracy under the examined attack with the lowest."""
    name = trial.examined_as
    if name not in trial.accuracy:
        return inconclusive("the model passes no gradient, which the attack needs")
    stands, least = trial.accuracy[name], min(trial.accuracy.values())
    fails = stands - least >= MOST
    return Answer(
        outcome="fails" if fails else "passes",
        measured=f"{stands:.4f} withstood {name}, {least:.4f} all attacks",
        severity="suspect" if fails else "none",
        values={"gap": stands - least},
    )


CHECK = Check(
    name="the evaluation",
    question="Is accuracy under the evaluation's attack the lowest that was found?",
    threshold=f"{MOST} above it",
    source="a lower number is a fact",
    advice="report the lowest",
    ask=ask,
)
