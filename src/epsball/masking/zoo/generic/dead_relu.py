"""Dead ReLUs at the end: all logits but the largest are cut off, and the gradient is exactly zero."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsball.attacks import Attack
from epsball.attacks.wrappers.borrowed_gradients import BorrowedGradients
from epsball.checks import check_positive
from epsball.classifier import Classifier
from epsball.masking.zoo.defence import Defence


class DeadReLU(nn.Module):
    """Cut logits off: z'_j = relu(z_j - max_i z_i + gap).

    The prediction stays. Where the margin exceeds `gap`, the largest logit is `gap` whatever the input and the others
    are dead: the gradient is exactly zero.

    Parameters
    ----------
    gap
        What is left of the largest logit.

    Examples
    --------
    >>> import torch
    >>> DeadReLU(gap=0.5)(torch.tensor([[3.0, 1.0, 2.75]]))
    tensor([[0.5000, 0.0000, 0.2500]])
    """

    def __init__(self, gap: float = 0.25) -> None:
        super().__init__()
        check_positive("gap", gap)
        self.gap = gap

    def forward(self, z: Float[Tensor, "n classes"]) -> Float[Tensor, "n classes"]:
        """Return what the ReLUs let through."""
        return torch.relu(z - z.amax(1, keepdim=True) + self.gap)

    def extra_repr(self) -> str:
        """Return the gap."""
        return f"gap={self.gap:g}"


def open_up(defended: Classifier) -> Attack:
    """Return the attack on the logits before the ReLUs, whose order is the same."""
    network, _ = defended.module.children()
    return BorrowedGradients(network=network)


DEFENCE = Defence(
    name="dead-relu",
    paper="a known pitfall: Croce et al., ICML 2022, section 3 (zero gradients)",
    does="Passes the logits through ReLUs that let only the largest, and what is close to it, through.",
    masking="vanishing",
    base="cifar-standard",
    ball="linf:8/255",
    defend=lambda network: Classifier(nn.Sequential(network, DeadReLU())),
    adaptive=open_up,
)
