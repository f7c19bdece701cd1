"""Optimal adversarial risk: what no classifier can beat, on a sample and for its distribution."""

from epsball.limits.columns import LinkColumns, link_columns, missed_witness
from epsball.limits.conflicts.overlapping_pairs import OverlappingPairs, overlapping_pairs
from epsball.limits.conflicts.representable import midpoints
from epsball.limits.conflicts.sample import prior_weights
from epsball.limits.generalisation import SampleCurve, distribution_bound, sample_curve
from epsball.limits.hyperedges.soft_optimum import Effort
from epsball.limits.optimal_classifier import (
    LeastFavourable,
    Losses,
    Optimum,
    RandomisedClassifier,
    randomised_classifier,
)
from epsball.limits.optimal_risk import optimal_risk
from epsball.limits.result import Limit, OptimalRisk
from epsball.limits.separation import Separation, separation
from epsball.risk import adversarial_cross_entropy

# Old names, until 0.3.
Meetings = OverlappingPairs
meetings = overlapping_pairs

__all__ = [
    "Effort",
    "LeastFavourable",
    "Limit",
    "LinkColumns",
    "Losses",
    "Meetings",
    "OptimalRisk",
    "Optimum",
    "OverlappingPairs",
    "RandomisedClassifier",
    "SampleCurve",
    "Separation",
    "adversarial_cross_entropy",
    "distribution_bound",
    "link_columns",
    "meetings",
    "midpoints",
    "missed_witness",
    "optimal_risk",
    "overlapping_pairs",
    "prior_weights",
    "randomised_classifier",
    "sample_curve",
    "separation",
]
