"""Gradient masking: whether a robustness number can be trusted, and the geometry of losses around inputs."""

from epsball.masking.diagnose import diagnose as diagnose
from epsball.masking.diagnosis import Diagnosis as Diagnosis
