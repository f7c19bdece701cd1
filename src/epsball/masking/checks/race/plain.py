"""The race that defines masking: plain PGD against the best attack."""

from epsball.masking.check import Answer, Check
from epsball.masking.measurements.escalation import distrusted
from epsball.masking.measurements.plain import NAME, plain_race
from epsball.masking.trial import Trial
from epsball.statistics import clopper_pearson

MASKED = 0.06
"""Gap from which a model is masked."""

MASKED_WITH_SIGNS = 0.03
"""The same where gradients were found useless on many examples."""

SUSPECT = 0.04
"""Gap from which it is suspect."""

NONE = 0.02
"""A gap that is none: a masked model's is larger with 95% confidence, for new examples too."""


def ask(trial: Trial) -> Answer:
    """Compare the estimated accuracy under plain PGD with that under all attacks."""
    race = trial.measured(plain_race)
    signs = distrusted(trial)
    certain = clopper_pearson(round(race.gap * len(trial.x)), len(trial.x)).low > NONE
    masked = race.gap >= (MASKED_WITH_SIGNS if signs else MASKED) and certain
    fails = masked or race.gap >= SUSPECT
    return Answer(
        outcome="fails" if fails else "passes",
        measured=f"{NAME} stands {race.gap:.3f} {race.interval} above the best attack "
        f"({race.standing} of {race.tried} broken examples that were tried withstand it)",
        severity="masked" if masked else "suspect" if fails else "none",
        values={"gap": race.gap, "low": race.interval.low, "high": race.interval.high},
    )


CHECK = Check(
    name="plain PGD",
    question="How far above the best attack does PGD on the cross-entropy stand (100 steps, 5 restarts)?",
    threshold=f"masked from {MASKED}, or {MASKED_WITH_SIGNS} where gradients are useless, if above {NONE} with 95% "
    f"confidence; suspect from {SUSPECT}",
    source="the definition of masking used here (docs/masking.md)",
    advice="report the accuracy under the best attack, and do not use plain PGD on this model",
    ask=ask,
)
