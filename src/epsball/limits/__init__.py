"""Optimal adversarial risk: what no classifier can beat, on a sample and for its distribution."""

from epsball.limits.generalisation import SampleCurve, distribution_bound, sample_curve
from epsball.limits.link import LinkColumns, adversarial_cross_entropy, link_columns, missed_witness
from epsball.limits.meetings import Meetings, meetings
from epsball.limits.nearest import Separation, separation
from epsball.limits.optimal import optimal_risk
from epsball.limits.optimum import LeastFavourable, Losses, Optimum
from epsball.limits.randomised import RandomisedClassifier, randomised_classifier
from epsball.limits.result import Limit, OptimalRisk
from epsball.limits.sample import prior_weights
from epsball.limits.soft import Effort
from epsball.limits.ties import midpoints

__all__ = [
    "Effort",
    "LeastFavourable",
    "Limit",
    "LinkColumns",
    "Losses",
    "Meetings",
    "OptimalRisk",
    "Optimum",
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
    "prior_weights",
    "randomised_classifier",
    "sample_curve",
    "separation",
]
