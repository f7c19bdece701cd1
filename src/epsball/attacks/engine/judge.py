"""The canonical pass, which gives every verdict."""

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from epsball.attacks.engine.evaluator import FEWEST_ROWS
from epsball.classifier import Classifier
from epsball.classifier.guards import difference, tolerance
from epsball.classifier.margins import margins
from epsball.full_precision import full_precision


class Judge:
    """Margins by the deployed model in one fixed batch shape, with TF32 and autocast off.

    The model is as it was given: state that passes change is put back first. Batches have `FEWEST_ROWS`
    rows, the last one padded, so that a stored point has the same logits in any company. Where what a
    pass changes makes logits depend on the company (an observer of ranges that is left on), each point
    has a pass of its own. A stochastic model is judged by the mean softmax over its stated repetitions.

    Attributes
    ----------
    padding
        Forward passes spent on padded rows, and on finding out about company.
    """

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.padding = 0
        self._singly: bool | None = None

    @property
    def cost(self) -> int:
        """Forward passes a verdict costs."""
        return self.classifier.repetitions if self.classifier.stochastic else 1

    def logits(self, points: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """Return the canonical logits (for a stochastic model, the log of the mean softmax)."""
        with torch.no_grad(), full_precision(self.classifier.device):
            return torch.cat([self._block(block) for block in points.split(FEWEST_ROWS)])

    def _block(self, block: Tensor) -> Tensor:
        if self._judges_singly(block):
            return torch.cat([self._deployed(row) for row in block.split(1)])
        n = len(block)
        rows = _padded(block)
        self.padding += self.cost * (FEWEST_ROWS - n)
        if not self.classifier.stochastic:
            return self._deployed(rows)[:n]
        self.classifier.restore()
        total = sum(self.classifier.forward(rows)[:n].double().softmax(1) for _ in range(self.cost))
        return torch.log(torch.as_tensor(total) / self.cost)

    def _deployed(self, rows: Tensor) -> Tensor:
        """Return logits of the model as it was given."""
        self.classifier.restore()
        # A copy: a model may return the same buffer again.
        return self.classifier.forward(rows).clone()

    def _judges_singly(self, block: Tensor) -> bool:
        """Return whether points need passes of their own; found out once, where passes change the model."""
        if self._singly is None and self.classifier.moves and not self.classifier.stochastic:
            together = self._deployed(_padded(block))[: len(block)]
            alone = torch.cat([self._deployed(row) for row in block.split(1)])
            self.padding += FEWEST_ROWS + len(block)
            self._singly = difference(together, alone) > tolerance(together)
        return bool(self._singly)

    def margins(self, points: Float[Tensor, "n *shape"], y: Int64[Tensor, " n"]) -> Float64[Tensor, " n"]:
        """Return z_y - max_{j != y} z_j of the canonical logits, in float64; NaN where there is none."""
        return margins(self.classifier.effective_logits(self.logits(points), y), y)


def _padded(block: Tensor) -> Tensor:
    """Return `FEWEST_ROWS` rows, the first one again and again after the block."""
    return torch.cat([block, block[:1].expand(FEWEST_ROWS - len(block), *block.shape[1:])])
