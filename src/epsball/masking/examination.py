"""`examine`: makes the measurements in their order, follows suspicions, and asks the checks."""

from epsball import progress
from epsball.masking.check import Finding
from epsball.masking.checks.registry import CHECKS
from epsball.masking.measurements.ceiling import ceiling
from epsball.masking.measurements.corners import corners
from epsball.masking.measurements.escalation import distrusted, escalation
from epsball.masking.measurements.gradients import gradients
from epsball.masking.measurements.instability import instability
from epsball.masking.measurements.path import path
from epsball.masking.measurements.plain import AT_STAKE, at_stake, plain_race
from epsball.masking.measurements.shape import shape
from epsball.masking.measurements.wider import wider
from epsball.masking.planted import finds_planted, power
from epsball.masking.trial import Trial

ORDER = (path, wider, instability, shape)
"""Measurements that decide little, made last of what passes are left: power comes before them."""


def follow(trial: Trial) -> None:
    """Try on further examples of a masked model what such a model calls for; for use as `examine`."""
    trial.suspicious = True
    trial.measured(escalation)


def examine(trial: Trial) -> tuple[Finding, ...]:
    """Return the findings of all checks, in their order; for use inside ``classifier.in_use()``.

    First what tells whether the evaluation can be trusted at all: gradients and, where those are useless, planted
    witnesses. Where it cannot, the attacks that this calls for are tried, and only then it is measured how far plain
    PGD stands above the best attack.
    """
    trial.run_examined()
    for measure in (gradients, ceiling, corners):
        trial.measured(measure)
    trial.suspicious |= trial.measured(corners).fell > 0
    # Useless gradients are no suspicion where the evaluation is seen to do without them.
    trial.suspicious |= distrusted(trial) and not finds_planted(trial)
    trial.suspicious |= trial.measured(at_stake) >= AT_STAKE
    trial.measured(escalation)
    trial.measured(plain_race)
    trial.measured(power)
    for number, measure in enumerate(ORDER):
        trial.measured(measure)
        progress.report("diagnosis", number + 1, len(ORDER))
    trial.accuracy["reported"] = min(trial.accuracy.values())
    return tuple(Finding.of(check, check.ask(trial)) for check in CHECKS)
