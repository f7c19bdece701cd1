"""Randomised smoothing: certificates of another classifier, the smoothed one, that hold with a stated probability."""

from epsball.smoothing.noise import NOISES, Gaussian, Laplace, Noise, Uniform
from epsball.smoothing.plan import Plan
from epsball.smoothing.result import RadiusCertified, Smoothed
from epsball.smoothing.rows import Rows
from epsball.smoothing.share import fixed_bound, sequence_bound
from epsball.smoothing.smooth import smooth

__all__ = [
    "NOISES",
    "Gaussian",
    "Laplace",
    "Noise",
    "Plan",
    "RadiusCertified",
    "Rows",
    "Smoothed",
    "Uniform",
    "fixed_bound",
    "sequence_bound",
    "smooth",
]
