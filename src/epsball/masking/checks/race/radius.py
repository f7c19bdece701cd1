"""Accuracy against the radius."""

from epsball.masking.check import Answer, Check, inconclusive
from epsball.masking.checks.settled import severity_of_signs
from epsball.masking.measurements.wider import wider
from epsball.masking.trial import Trial


def ask(trial: Trial) -> Answer:
    """Report whether accuracy falls with the radius; it fails where nothing falls, up to the whole box."""
    found = trial.measured(wider)
    if found is None:
        return inconclusive("too few examples stand, or no passes are left")
    series = ", ".join(f"{share:.2f} at {factor} radii" for factor, share in found.standing.items())
    flat = min(*found.standing.values(), found.unbounded) == 1.0
    severity, why = severity_of_signs(trial)
    return Answer(
        outcome="fails" if flat else "passes",
        measured=f"of {found.tried} standing examples stand {series}, {found.unbounded:.2f} in the whole box"
        f"{why if flat else ''}",
        severity=severity if flat else "none",
        values={f"{factor} radii": share for factor, share in found.standing.items()},
    )


CHECK = Check(
    name="growing radius",
    question="Does accuracy fall as the radius grows?",
    threshold="no standing example falls, up to the whole box; a fact where gradients are useless and the attack finds "
    "planted witnesses",
    source="Carlini et al. 2019, section 5",
    advice="the search is what fails: attack by queries or with a surrogate",
    ask=ask,
)
