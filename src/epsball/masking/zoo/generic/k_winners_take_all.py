"""k-winners-take-all: an activation with so many jumps that gradients say nothing about a neighbourhood."""

from torch import nn

from epsball.attacks import Attack
from epsball.classifier import Classifier
from epsball.errors import InputError
from epsball.masking.zoo.defence import Defence
from epsball.models.k_winners import KWinnersTakeAll


def defended(network: nn.Module) -> Classifier:
    """Return the classifier of a network that was trained with this activation."""
    if not any(isinstance(module, KWinnersTakeAll) for module in network.modules()):
        raise InputError("the network has no k-winners-take-all layer; train one: conv_net,activation=k-wta.")
    return Classifier(network)


def smoothed(classifier: Classifier) -> Attack:
    raise NotImplementedError


DEFENCE = Defence(
    name="k-winners-take-all",
    paper="Xiao, Zhong and Zheng, ICLR 2020; broken by Tramer et al., NeurIPS 2020, section 5",
    does="Keeps the largest tenth of the activations of each layer and sets the others to 0.",
    masking="shattered",
    base="cifar-k-wta",
    ball="linf:8/255",
    defend=defended,
    adaptive=smoothed,
)
