"""Functions of one variable: their shape, their bounds over an interval, and lines below and above them."""

from epsball.certificates.curves.curve import Curve
from epsball.certificates.curves.relaxation import (
    LinearRelaxation,
    linear_relaxation,
    rectifier_relaxation,
    relu_relaxation_in_training,
)
from epsball.certificates.curves.table import curve_of

__all__ = [
    "Curve",
    "LinearRelaxation",
    "curve_of",
    "linear_relaxation",
    "rectifier_relaxation",
    "relu_relaxation_in_training",
]
