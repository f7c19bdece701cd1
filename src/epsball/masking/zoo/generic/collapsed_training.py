"""One-step adversarial training that collapsed: the network resists the single step it was trained on, and no other."""

from epsball.attacks import Ensemble
from epsball.classifier import Classifier
from epsball.masking.zoo.defence import Defence

DEFENCE = Defence(
    name="fgsm-training",
    paper="Goodfellow, Shlens and Szegedy, ICLR 2015; its collapse: Wong, Rice and Kolter, ICLR 2020, section 5",
    does="Is trained on examples of the fast gradient sign method, until it folds its loss over around that one step.",
    masking="vanishing",
    base="mnist-fgsm",
    ball="linf:0.3",
    defend=lambda network: Classifier(network),
    adaptive=lambda defended: Ensemble(),
)
