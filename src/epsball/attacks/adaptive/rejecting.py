"""`rejecting`: a network and a detector as one module."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from epsball.errors import ModelError


def rejecting(network: nn.Module, detector: Callable[[Tensor], Tensor]) -> nn.Module:
    """Return a module of the network's logits z and one for rejection, max_j z_j + D(x).

    The rejection is the largest logit exactly where the detector's score D(x) is positive, and both
    parts have gradients. An attack on ``Classifier(rejecting(f, D), rejects=True)`` is adaptive: its
    losses rise only where an input is misclassified and not detected. (Carlini and Wagner's combined logit
    (D + 1) max_j z_j needs positive logits; this one does not.)

    Parameters
    ----------
    network
        Maps inputs (n, *shape) to logits (n, classes).
    detector
        Maps inputs to scores (n,), positive where an input is to be rejected.

    References
    ----------
    Carlini and Wagner, "Adversarial examples are not easily detected", AISec 2017, section 3.4.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> defended = eb.attacks.rejecting(torch.nn.Identity(), lambda x: x.amax(1) - 0.8)
    >>> defended(torch.tensor([[0.9, 0.3]]))
    tensor([[0.9000, 0.3000, 1.0000]])
    """
    return _Rejecting(network, detector)


class _Rejecting(nn.Module):
    def __init__(self, network: nn.Module, detector: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.detector = network, detector

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, classes + 1)."""
        z, score = self.network(x), self.detector(x)
        if score.shape != z.shape[:1]:
            raise ModelError(
                f"the detector returns {tuple(score.shape)} for {len(z)} inputs; give one score each, ({len(z)},)."
            )
        return torch.cat([z, z.amax(1, keepdim=True) + score[:, None]], dim=1)
