"""The zoo: defences that mask gradients, each with the adaptive attack that breaks it."""

from epsball.masking.zoo.defence import Defence as Defence
from epsball.masking.zoo.registry import DEFENCES as DEFENCES
from epsball.masking.zoo.registry import defence as defence
