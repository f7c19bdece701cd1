"""k-winners-take-all: an activation with so many jumps that gradients say nothing about a neighbourhood."""

from torch import nn

from epsball.attacks import Attack, Ensemble, expectation_over_transformation
from epsball.attacks.parts.attack import StagedAttack
from epsball.attacks.wrappers.borrowed_gradients import BorrowedGradients
from epsball.ball import Ball
from epsball.classifier import Classifier
from epsball.errors import InputError
from epsball.masking.zoo.defence import Defence
from epsball.masking.zoo.generic.noise import Noise
from epsball.models.k_winners import KWinnersTakeAll


def defended(network: nn.Module) -> Classifier:
    """Return the classifier of a network that was trained with this activation."""
    if not any(isinstance(module, KWinnersTakeAll) for module in network.modules()):
        raise InputError("the network has no k-winners-take-all layer; train one: conv_net,activation=k-wta.")
    return Classifier(network)


class EnsembleThenSmoothed(StagedAttack):
    """`Ensemble`; then PGD with gradients averaged over points around the iterate, which smooths the jumps.

    Tramer et al. (section 5) average finite differences at random points around the iterate; gradients at such
    points cost less.

    Parameters
    ----------
    network
        The defended network.
    sigma
        Standard deviation of the points around the iterate.
    samples
        Points per gradient.
    """

    name = "ensemble then smoothed"

    def __init__(self, network: nn.Module, sigma: float, samples: int) -> None:
        inner = expectation_over_transformation("pgd,steps=40,loss=margin", samples=samples)
        self.smoothed = BorrowedGradients(network=nn.Sequential(Noise(sigma), network), method=inner)

    def stages(self, ball: Ball) -> tuple[Attack, ...]:
        """Return the attacks it is made of, in order."""
        return Ensemble(), self.smoothed


def smoothed(classifier: Classifier) -> Attack:
    """Return the attack on a classifier of `defended`."""
    return EnsembleThenSmoothed(classifier.network, sigma=0.02, samples=20)


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
