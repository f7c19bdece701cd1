"""k-winners-take-all: an activation that keeps the largest entries of a whole layer."""

from jaxtyping import Float
from torch import Tensor, nn

from epsball.errors import InputError


class KWinnersTakeAll(nn.Module):
    """Keep the k largest activations of each example and set the others to 0; k is a share of their number.

    The output is not continuous in the input: an entry that falls out of the k largest jumps to 0.

    Parameters
    ----------
    share
        gamma in the paper: k = gamma N, at least 1, for a layer of N activations.

    References
    ----------
    Xiao, Zhong and Zheng, "Enhancing adversarial defense by k-winners-take-all", ICLR 2020, eq. (2).

    Examples
    --------
    >>> import torch
    >>> KWinnersTakeAll(share=0.5)(torch.tensor([[3.0, 1.0, 2.0, 0.5]]))
    tensor([[3., 0., 2., 0.]])
    """

    def __init__(self, share: float = 0.1) -> None:
        super().__init__()
        if not 0 < share <= 1:
            raise InputError(f"the share of winners is {share}; it lies in (0, 1].")
        self.share = share

    def forward(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        """Return the winners, zeros elsewhere."""
        y = x.flatten(1)
        k = max(1, int(self.share * y.shape[1]))
        least = y.topk(k, dim=1).values[:, -1:]
        return (y * (y >= least)).view_as(x)

    def extra_repr(self) -> str:
        """Return the share."""
        return f"share={self.share}"
