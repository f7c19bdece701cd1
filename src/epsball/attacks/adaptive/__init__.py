"""Adaptive attacks: what makes them, and the one that finds out by itself what a model needs."""

from epsball.attacks.adaptive.bpda import bpda as bpda
from epsball.attacks.adaptive.gradient_facts import GradientFacts as GradientFacts
from epsball.attacks.adaptive.gradient_facts import gradient_facts as gradient_facts
from epsball.attacks.adaptive.rejecting import rejecting as rejecting
