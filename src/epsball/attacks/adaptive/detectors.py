"""A detector beside a network, as one classifier that may reject."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from epsball.errors import ModelError


def rejecting(network: nn.Module, detector: Callable[[Tensor], Tensor]) -> nn.Module:
    """Return a module of the network's logits z and one for rejection, max_j z_j + D(x).

    It wins exactly where the detector's score D(x) is positive, and both parts have gradients: an
    attack on ``Classifier(rejecting(f, D), rejects=True)`` is adaptive, for its losses rise only
    where an input is misclassified and not detected. (Carlini and Wagner's combined logit
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
