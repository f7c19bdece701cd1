"""More restarts against few."""

from epsball.masking.check import Answer, Check
from epsball.masking.trial import Trial

MOST = 0.05
"""Share of all examples."""


def ask(trial: Trial) -> Answer:
    """Count the witnesses that only the evaluation's many starts found."""
    count = sum(by in ("shots", "more starts") for by in trial.by)
    share = count / len(trial.by)
    return Answer(
        outcome="fails" if share >= MOST else "passes",
        measured=f"{count} of {len(trial.by)} examples fell to many short runs only",
        values={"share": share},
    )


CHECK = Check(
    name="more restarts",
    question="Do many starts break what few did not?",
    threshold=f"{MOST} of the examples; counted in the race against plain PGD",
    source="Mosbach et al. 2018",
    advice="give attacks more restarts, or an ensemble with more patience",
    ask=ask,
)
