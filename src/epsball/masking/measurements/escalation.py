"""Attacks that are tried where something is suspicious: what they find lowers the accuracy that may be reported."""

from dataclasses import dataclass

from epsball.attacks import Attack, MultiStart, SecondOrder, Square, Transfer, registry
from epsball.errors import NoGradientError
from epsball.masking.measurements.gradients import gradients
from epsball.masking.trial import Trial

USELESS = 0.2
"""Share of examples with a useless gradient from which on a search by gradients is not trusted."""

ADAPTIVE_SHARE, QUERIES_SHARE, CURVED_SHARE = 0.7, 0.6, 0.3
"""Shares of the evaluation's passes that each attack may take, while they are left."""

RESERVED = 0.2
"""Share of the evaluation's passes that is left for the race against plain PGD."""

QUERIES = 2000


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """An attack that was tried on what stood.

    Parameters
    ----------
    name
        Of the attack, as accuracies name it.
    tried, fell
        Number of examples.
    """

    name: str
    tried: int
    fell: int


def escalation(trial: Trial) -> list[Attempt]:
    """Try a transfer where there is a surrogate and, where something is suspicious, what that calls for."""
    attempts = []
    if trial.surrogate is not None:
        attempts.append(_attempt(trial, Transfer(surrogate=trial.surrogate), "transfer", None))
    if not trial.suspicious:
        return attempts
    if distrusted(trial):
        attempts.append(_attempt(trial, registry.resolve("adaptive"), "adaptive", ADAPTIVE_SHARE))
        attempts.append(_attempt(trial, Square(queries=QUERIES), "square", QUERIES_SHARE))
    else:
        attempts.append(_attempt(trial, SecondOrder(steps=4), "second-order", CURVED_SHARE))
        attempts.append(_attempt(trial, MultiStart(patience=10.0, most=140), "more starts", QUERIES_SHARE))
    return [attempt for attempt in attempts if attempt.tried]


def distrusted(trial: Trial) -> bool:
    """Return whether gradients were looked at and found useless on many examples."""
    found = trial.measured(gradients)
    return found is not None and found.useless >= USELESS


def _attempt(trial: Trial, method: Attack, name: str, share: float | None) -> Attempt:
    """Try an attack on what stands, each example with its part of the passes that are left."""
    rows = trial.standing()
    left = max(0, trial.left() - int(RESERVED * trial.evaluation.passes))
    budget = None if share is None else min(trial.left(share), left) // max(1, len(rows))
    if len(rows) == 0 or budget == 0:
        return Attempt(name=name, tried=0, fell=0)
    try:
        fell = trial.attack(method, rows, name=name, budget=budget)
    except NoGradientError:
        return Attempt(name=name, tried=0, fell=0)
    return Attempt(name=name, tried=len(rows), fell=fell)
