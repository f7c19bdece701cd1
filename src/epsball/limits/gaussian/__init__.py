"""Closed forms of the optimal adversarial risk where both classes are Gaussian."""

from epsball.limits.gaussian.curve import GaussianCurve, gaussian_curve
from epsball.limits.gaussian.multivariate import LinearRule, MultivariateGaussian
from epsball.limits.gaussian.univariate import IntervalRule, Optimum, UnivariateGaussian

__all__ = [
    "GaussianCurve",
    "IntervalRule",
    "LinearRule",
    "MultivariateGaussian",
    "Optimum",
    "UnivariateGaussian",
    "gaussian_curve",
]
