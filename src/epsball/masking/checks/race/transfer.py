"""A surrogate's points against the model's own gradients."""

from epsball.masking.check import Answer, Check, inconclusive
from epsball.masking.checks.race.shares import MOST, share_of
from epsball.masking.trial import Trial


def ask(trial: Trial) -> Answer:
    """Count what transfer broke; inconclusive without a surrogate."""
    if trial.surrogate is None:
        return inconclusive("no surrogate was given")
    return share_of(trial, "transfer", "transfer from the surrogate")


CHECK = Check(
    name="transfer against white-box",
    question="Do points found on another network break what plain PGD does not?",
    threshold=f"{MOST} of the examples; counted in the race against plain PGD",
    source="Papernot et al. 2017; Tramèr et al. 2018",
    advice="attack with a surrogate of the model",
    ask=ask,
)
