"""What defences in front of a network share: the classifier, and its backward pass by a stand-in."""

from collections.abc import Callable

from torch import Tensor, nn

from epsball.attacks import Attack, bpda
from epsball.attacks.wrappers.borrowed_gradients import BorrowedGradients
from epsball.classifier import Classifier


def in_front(transformation: nn.Module, network: nn.Module, *, stochastic: bool = False) -> Classifier:
    """Return the classifier that sees what a transformation makes of its inputs."""
    return Classifier(nn.Sequential(transformation, network), stochastic=stochastic)


def through(
    defended: Classifier, stand_in: Callable[[Tensor], Tensor] | None = None, method: str | Attack = "ensemble"
) -> Attack:
    """Return the attack whose gradients go back through a stand-in for the transformation.

    Parameters
    ----------
    defended
        A classifier of `in_front`.
    stand_in
        A differentiable function of the same outputs; None is the identity.
    method
        The attack that uses the gradients.
    """
    transformation, network = defended.module.children()
    return BorrowedGradients(network=nn.Sequential(bpda(transformation, stand_in), network), method=method)
