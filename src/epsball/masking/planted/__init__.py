"""Planted witnesses: what share of adversarial examples that are known to be there an attack finds."""

from epsball.masking.planted.power import Power as Power
from epsball.masking.planted.power import power as power
