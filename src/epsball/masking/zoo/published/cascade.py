"""NKM17: cascade adversarial training; broken by plain optimisation."""

from epsball.attacks import Ensemble
from epsball.classifier import Classifier
from epsball.masking.zoo.defence import Defence

DEFENCE = Defence(
    name="NKM17",
    paper="Na, Ko and Mukhopadhyay, ICLR 2018; broken by Athalye, Carlini and Wagner, ICML 2018, section 5.6",
    does="Is trained on its own one-step adversarial examples and on iterative ones of a network defended before.",
    masking="none",
    base="cifar-cascade",
    ball="linf:0.015",
    defend=lambda network: Classifier(network),
    adaptive=lambda defended: Ensemble(),
    published=15,
)
