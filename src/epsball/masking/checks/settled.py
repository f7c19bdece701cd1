"""What a sign of useless gradients calls for, once it is known whether the evaluation needs them."""

from epsball.masking.check import Severity
from epsball.masking.measurements.escalation import distrusted
from epsball.masking.planted import finds_planted, power
from epsball.masking.trial import Trial


def severity_of_signs(trial: Trial) -> tuple[Severity, str]:
    """Return the severity of a sign that searches by the model's own gradient fail, and the reason in words.

    Such a sign says that witnesses may be hidden, not that there are any. The ensemble does not need that gradient: it
    goes on with surrogates and queries. Whether it then sees what the model does is measured by planting witnesses in
    the same model, behind the same gradients. Where it finds them the sign is a fact and calls for nothing; what the
    attacks without that gradient break, and plain PGD does not, is the race's to judge.
    """
    found = trial.measured(power)
    if found is None or not distrusted(trial) or not finds_planted(trial):
        return "suspect", ""
    return "none", f"; the attack does without: it found {found.found} of {found.planted} planted witnesses"
