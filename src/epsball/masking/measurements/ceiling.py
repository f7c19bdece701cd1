"""What the data allow any classifier at this radius, and the points that examples of two labels share."""

from dataclasses import dataclass

from epsball.attacks import Collision
from epsball.errors import InputError
from epsball.limits import optimal_risk
from epsball.masking.trial import Trial

MOST_EXAMPLES = 5000
"""Examples up to which all pairs are compared."""


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """The most accuracy that any classifier can keep on these examples.

    Parameters
    ----------
    accuracy
        1 - optimal risk of the stored examples.
    """

    accuracy: float


def ceiling(trial: Trial) -> Ceiling | None:
    """Return the ceiling; where accuracy exceeds it, try the shared points. None where it cannot be computed."""
    if len(trial.y.unique()) < 2 or len(trial.x) > MOST_EXAMPLES:
        return None
    try:
        risk = optimal_risk(trial.x, trial.y, norm=trial.ball.norm, radii=[trial.ball.radius])
    except InputError:
        return None
    found = Ceiling(accuracy=1.0 - risk.at(trial.ball.radius).stored)
    if unbroken(trial) > found.accuracy + TOLERANCE:
        trial.attack(Collision(pool=(trial.x, trial.y)), trial.standing(), name="collision")
    return found


TOLERANCE = 1e-9


def unbroken(trial: Trial) -> float:
    """Return the share of examples that are correct and stand."""
    return float(trial.unbroken.double().mean())
