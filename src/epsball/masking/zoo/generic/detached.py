"""A detached graph: the input is taken out of the graph, and no gradient reaches it."""

from jaxtyping import Float
from torch import Tensor, nn

from epsball.masking.zoo.defence import Defence
from epsball.masking.zoo.input_transformation import in_front, through


class Detached(nn.Module):
    """Return the input without its graph.

    Examples
    --------
    >>> import torch
    >>> Detached()(torch.ones(1, requires_grad=True)).requires_grad
    False
    """

    def forward(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        """Return x, detached."""
        return x.detach()


DEFENCE = Defence(
    name="detached",
    paper="a slip of the code",
    does="Detaches the input from the graph.",
    masking="shattered",
    base="cifar-standard",
    ball="linf:8/255",
    defend=lambda network: in_front(Detached(), network),
    adaptive=through,
)
