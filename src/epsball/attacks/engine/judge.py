"""The canonical pass, which gives every verdict."""

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from epsball.attacks.engine.evaluator import FEWEST_ROWS
from epsball.classifier import Classifier
from epsball.classifier.margins import margins
from epsball.full_precision import full_precision


class Judge:
    """Margins by the deployed model in one fixed batch shape, with TF32 and autocast off.

    The model is as it was given: state that passes change is put back first. Batches have `FEWEST_ROWS`
    rows, the last one padded, so that a stored point has the same logits in any company. A stochastic
    model is judged by the mean softmax over its stated repetitions.

    Attributes
    ----------
    padding
        Forward passes spent on padded rows.
    """

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.padding = 0

    @property
    def cost(self) -> int:
        """Forward passes a verdict costs."""
        return self.classifier.repetitions if self.classifier.stochastic else 1

    def logits(self, points: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """Return the canonical logits (for a stochastic model, the log of the mean softmax)."""
        with torch.no_grad(), full_precision(self.classifier.device):
            return torch.cat([self._block(block) for block in points.split(FEWEST_ROWS)])

    def _block(self, block: Tensor) -> Tensor:
        n = len(block)
        padded = torch.cat([block, block[:1].expand(FEWEST_ROWS - n, *block.shape[1:])])
        # Plain strides: a kernel may take images of one channel for channels-last ones.
        rows = padded.clone(memory_format=torch.contiguous_format)
        self.padding += self.cost * (FEWEST_ROWS - n)
        self.classifier.restore()
        if not self.classifier.stochastic:
            # A copy: a model may return the same buffer again.
            return self.classifier.forward(rows)[:n].clone()
        total = sum(self.classifier.forward(rows)[:n].double().softmax(1) for _ in range(self.cost))
        return torch.log(torch.as_tensor(total) / self.cost)

    def margins(self, points: Float[Tensor, "n *shape"], y: Int64[Tensor, " n"]) -> Float64[Tensor, " n"]:
        """Return z_y - max_{j != y} z_j of the canonical logits, in float64; NaN where there is none."""
        return margins(self.classifier.effective_logits(self.logits(points), y), y)
