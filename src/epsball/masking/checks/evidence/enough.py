"""Whether there are enough examples to say anything."""

from epsball.masking.check import Answer, Check
from epsball.masking.trial import Trial


def ask(trial: Trial) -> Answer:
    """Count the correct examples."""
    count = int(trial.correct.sum())
    fails = count < trial.fewest
    return Answer(
        outcome="fails" if fails else "passes",
        measured=f"{count} of {len(trial.x)} examples are correct; {trial.fewest} are needed",
        severity="suspect" if fails else "none",
        values={"correct": float(count)},
    )


CHECK = Check(
    name="too few examples",
    question="Are enough examples correct for a verdict?",
    threshold="the option `fewest`",
    source="exact binomial intervals",
    advice="give more examples",
    ask=ask,
)
