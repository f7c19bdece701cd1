"""From findings to a verdict."""

from collections.abc import Sequence
from typing import Literal

from epsball.masking.check import Finding

Verdict = Literal["sound", "suspect", "masked"]

VERDICTS: tuple[Verdict, ...] = ("sound", "suspect", "masked")


def verdict_of(findings: Sequence[Finding]) -> Verdict:
    """Return the worst verdict that a finding calls for.

    Examples
    --------
    >>> verdict_of([])
    'sound'
    """
    called = {finding.severity for finding in findings}
    return "masked" if "masked" in called else "suspect" if "suspect" in called else "sound"


def reasons_of(findings: Sequence[Finding]) -> tuple[str, ...]:
    """Return the names of the findings that call for a verdict other than sound, the gravest first."""
    grave = [finding for finding in findings if finding.severity != "none"]
    return tuple(finding.name for finding in sorted(grave, key=lambda finding: finding.severity == "suspect"))


MEANINGS: dict[Verdict, str] = {
    "sound": "No check found that gradients hide witnesses: accuracy under attack is as good as the attack. No proof.",
    "suspect": "A check found a sign that gradients fail the attack; whether witnesses are hidden is not settled.",
    "masked": "An attack that needs no gradient of the model's own, or a stronger one, beats the evaluation: what "
    "stood under it is no robustness. Such a model never passes a gate by --min-under-attack.",
}
"""What each verdict says, and what not."""
