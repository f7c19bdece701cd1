"""Linear bounds: rows over a node are carried back to the input, each node replaced by lines around it."""

from epsball.certificates.linear.refinement import refiner
from epsball.certificates.linear.sweep import sweep

__all__ = ["refiner", "sweep"]
