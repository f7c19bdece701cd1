"""The perturbation set N(x): `Ball`, its `Neighbourhood` for loops, and the exact radius."""

from epsball.ball._ball import Ball, NormName
from epsball.ball.neighbourhood import Neighbourhood
from epsball.radius import parse_radius

__all__ = ["Ball", "Neighbourhood", "NormName", "parse_radius"]
