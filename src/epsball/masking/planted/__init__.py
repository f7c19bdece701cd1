"""Planted witnesses: what share of adversarial examples that are known to be there an attack finds."""

from epsball.masking.planted.power import LEAST_SHARE as LEAST_SHARE
from epsball.masking.planted.power import Power as Power
from epsball.masking.planted.power import finds_planted as finds_planted
from epsball.masking.planted.power import power as power
