"""What an audit takes from the limit: the right end of its chain."""

from dataclasses import dataclass
from typing import Any

from epsball.ball import Ball
from epsball.limits.conflicts.graph import Conflicts
from epsball.limits.conflicts.sample import Sample
from epsball.limits.hyperedges.soft_optimum import BRIEF
from epsball.limits.levels import STATUS_NAMES
from epsball.limits.optimal_classifier import losses
from epsball.limits.optimal_risk import optimal_risk
from epsball.limits.result import Limit

MOST_PAIRS = 200
"""Pairs in conflict that an audit names."""

MOST_CONFLICTS = 5_000_000
"""Number of conflicts up to which an audit bounds the cross-entropy."""


@dataclass(frozen=True, kw_only=True)
class LinkColumns:
    """Evidence columns of the limit, and the numbers of the sample.

    Parameters
    ----------
    columns
        ``limit.hard``: safe, either or given up, one entry per example.
    limit
        Optimal risk of the sample; `stored` is the end of the chain, `distribution` its bound.
    cross_entropy
        In nats: a lower bound of every classifier's adversarial cross-entropy on these examples, from
        the representable conflicts. None where there are too many for an audit.
    pairs
        Rows of the first examples in conflict, two and two, with a verified common point among floats.

    Examples
    --------
    >>> import numpy as np
    >>> found = link_columns(np.array([[0.0], [0.5]]), np.array([0, 1]), Ball("l2", "0.25"))
    >>> found.columns, found.limit.stored
    ({'limit.hard': ['either', 'either']}, 0.5)
    >>> found.pairs
    [(0, 1)]
    """

    columns: dict[str, list[str]]
    limit: Limit
    cross_entropy: float | None
    pairs: list[tuple[int, int]]


def missed_witness(limit: Limit, accuracy_under_attack: float) -> str | None:
    """Return the sentence to print where an accuracy under attack exceeds 1 - L*, else None.

    Examples
    --------
    >>> import numpy as np
    >>> found = link_columns(np.array([[0.0], [0.5]]), np.array([0, 1]), Ball("l2", "0.25"))
    >>> missed_witness(found.limit, 0.5) is None
    True
    """
    ceiling = 1.0 - limit.stored
    if accuracy_under_attack <= ceiling + 1e-12:
        return None
    return (
        f"{accuracy_under_attack:.4f} of this sample was seen to withstand the attack, but no classifier can keep "
        f"more than {ceiling:.4f} of it at this radius: the attack missed at least one witness."
    )


def link_columns(x: Any, y: Any, ball: Ball) -> LinkColumns:
    """Return the limit of a set of examples at one ball, as evidence columns and numbers.

    Parameters
    ----------
    x, y
        The audited examples, in their order.
    ball
        The perturbation set. Its box changes nothing: the midpoint of two examples lies in it.

    Examples
    --------
    >>> import numpy as np
    >>> found = link_columns(np.array([[0.0], [0.5], [0.125]]), np.array([0, 1, 0]), Ball("l2", "0.25"))
    >>> found.columns
    {'limit.hard': ['safe', 'given up', 'safe']}
    """
    risk = optimal_risk(x, y, norm=ball.norm, radii=[ball.radius], effort=BRIEF)
    limit = risk.at(ball.radius)
    entropy = None
    if limit.conflicts <= MOST_CONFLICTS:
        entropy = losses(risk.problem.sample, risk.problem.representable, (ball.radius,)).cross_entropy[0]
    status = [STATUS_NAMES[value] for value in risk.hard[0].tolist()]
    pairs = _pairs(risk.problem.sample, risk.problem.representable)
    return LinkColumns(columns={"limit.hard": status}, limit=limit, cross_entropy=entropy, pairs=pairs)


def _pairs(sample: Sample, conflicts: Conflicts) -> list[tuple[int, int]]:
    """Return the first pairs in conflict at the one radius, as rows of the caller's data."""
    edges = conflicts.edges(len(conflicts.radii) - 1)[:MOST_PAIRS]
    ends = sample.order[conflicts.rows_of(edges)], sample.order[conflicts.neighbour[edges]]
    return sorted((min(a, b), max(a, b)) for a, b in zip(*(end.tolist() for end in ends), strict=True))
