"""DAL18: stochastic activation pruning in a trained network; broken by gradients averaged over its draws."""

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsball.attacks import Attack, expectation_over_transformation
from epsball.checks import check_positive
from epsball.classifier import Classifier
from epsball.errors import InputError
from epsball.masking.zoo.defence import Defence

ACTIVATIONS = (nn.ReLU, nn.GELU, nn.Tanh, nn.Softplus)
"""The layers whose outputs are pruned."""


class ActivationPruning(nn.Module):
    """Keep activations drawn in proportion to their size, and scale them up by how likely they were to be kept.

    With p_j = abs(h_j) / sum_k abs(h_k), r draws with replacement from p decide which h_j are kept; these become
    h_j / (1 - (1 - p_j)^r), so that the expectation is h.

    Parameters
    ----------
    share
        r as a share of the number of activations of the layer.

    References
    ----------
    Dhillon et al., "Stochastic activation pruning for robust adversarial defense", ICLR 2018, algorithm 1.

    Examples
    --------
    >>> import torch
    >>> pruned = ActivationPruning(share=1.0)(torch.tensor([[0.0, 1.0, 3.0]]))
    >>> float(pruned[0, 0])
    0.0
    """

    def __init__(self, share: float = 1.0) -> None:
        super().__init__()
        check_positive("share", share)
        self.share = share

    def forward(self, h: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        """Return the pruned activations."""
        flat = h.flatten(1)
        r = max(1, round(self.share * flat.shape[1]))
        p = sampling_probabilities(flat.detach())
        drawn = torch.multinomial(p, r, replacement=True)
        kept = torch.zeros_like(p).scatter_(1, drawn, 1.0)
        return (flat * kept / keep_probabilities(p, r)).view_as(h)

    def extra_repr(self) -> str:
        """Return the share."""
        return f"share={self.share:g}"


def sampling_probabilities(h: Float[Tensor, "n entries"]) -> Float[Tensor, "n entries"]:
    """Return p_j = abs(h_j) / sum_k abs(h_k); uniform where all are 0."""
    size = h.abs()
    total = size.sum(1, keepdim=True)
    return torch.where(total > 0, size / total.clamp_min(torch.finfo(h.dtype).tiny), 1.0 / h.shape[1])


def keep_probabilities(p: Float[Tensor, "n entries"], r: int) -> Float[Tensor, "n entries"]:
    """Return 1 - (1 - p_j)^r, the probability that r draws choose j at least once; 1 where p_j = 0."""
    return torch.where(p > 0, -torch.expm1(r * torch.log1p(-p.clamp_max(1.0))), 1.0)


def pruned(network: nn.Module) -> Classifier:
    """Return the random classifier of a copy of the network with a pruning after each activation.

    Raises
    ------
    InputError
        If the network has no activation of a known kind.
    """
    copied = copy.deepcopy(network)
    places = [
        (parent, name)
        for parent in copied.modules()
        for name, child in parent.named_children()
        if isinstance(child, ACTIVATIONS)
    ]
    if not places:
        names = ", ".join(kind.__name__ for kind in ACTIVATIONS)
        raise InputError(f"the network has no activation layer to prune; it has to be one of {names}.")
    for parent, name in places:
        setattr(parent, name, nn.Sequential(getattr(parent, name), ActivationPruning()))
    return Classifier(copied, stochastic=True)


def averaged(defended: Classifier) -> Attack:
    """Return PGD on the margin with gradients averaged over 20 draws (Athalye, Carlini and Wagner, section 5.3)."""
    return expectation_over_transformation("pgd,steps=40,loss=margin", samples=20)


DEFENCE = Defence(
    name="DAL18",
    paper="Dhillon et al., ICLR 2018; broken by Athalye, Carlini and Wagner, ICML 2018, section 5.3",
    does="Drops activations of a trained network at random, small ones more often, at each call.",
    masking="stochastic",
    base="cifar-standard",
    ball="linf:8/255",
    defend=pruned,
    adaptive=averaged,
    published=0,
)
