"""The canonical pass, by which every verdict is given."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from epsball.attacks.evaluator import FEWEST_ROWS
from epsball.classifier import Classifier


class Judge:
    """Margins by the deployed model in one fixed batch shape, with TF32 and autocast off.

    Batches have `FEWEST_ROWS` rows, the last one padded, so that a stored point has the same
    logits whatever it was found beside. A stochastic model is judged by the mean softmax over
    its stated repetitions.

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
        """Return the canonical logits (for a stochastic model, log of the mean softmax)."""
        with torch.no_grad(), _full_precision(self.classifier.device):
            return torch.cat([self._block(block) for block in points.split(FEWEST_ROWS)])

    def _block(self, block: Tensor) -> Tensor:
        n = len(block)
        rows = torch.cat([block, block[:1].expand(FEWEST_ROWS - n, *block.shape[1:])]).contiguous()
        if not self.classifier.stochastic:
            self.padding += FEWEST_ROWS - n
            return self.classifier.forward(rows)[:n]
        repetitions = self.classifier.repetitions
        self.padding += repetitions * (FEWEST_ROWS - n)
        total = sum(self.classifier.forward(rows)[:n].double().softmax(1) for _ in range(repetitions))
        return torch.log(torch.as_tensor(total) / repetitions)

    def margins(self, points: Float[Tensor, "n *shape"], y: Int64[Tensor, " n"]) -> Float64[Tensor, " n"]:
        """Return z_y - max_{j != y} z_j in float64 of the canonical logits; NaN where one is not finite."""
        return margins(self.logits(points), y)


def margins(logits: Float[Tensor, "n classes"], y: Int64[Tensor, " n"]) -> Float64[Tensor, " n"]:
    """Return z_y - max_{j != y} z_j, differences in float64; NaN where a logit is not finite."""
    z = logits.double()
    own = z.gather(1, y[:, None])[:, 0]
    other = z.scatter(1, y[:, None], -torch.inf).amax(1)
    return torch.where(torch.isfinite(logits).all(1), own - other, torch.nan)


@contextmanager
def _full_precision(device: torch.device) -> Iterator[None]:
    """Compute in IEEE float32: no autocast, no TF32, no reduced-precision products."""
    precision = torch.get_float32_matmul_precision()
    with torch.autocast(device.type, enabled=False), torch.backends.cudnn.flags(allow_tf32=False):
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(precision)
