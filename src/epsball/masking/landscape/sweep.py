"""Evaluating a model at many points of lines and planes, in batches of the size that is fastest."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from torch.overrides import TorchFunctionMode

from epsball.attacks.engine.evaluator import FEWEST_ROWS
from epsball.classifier import Classifier
from epsball.classifier.margins import margins
from epsball.errors import ModelError
from epsball.full_precision import full_precision
from epsball.masking.geometry.surface import cross_entropy
from epsball.masking.landscape.subject import Subject

CACHE = 4 * 2**20
"""Bytes that the widest layer's input and output may take on the CPU: larger batches leave its cache and are slower."""

MOST_ON_CPU, MOST_ON_GPU = 256, 65536
"""Points per pass beyond which nothing is gained."""

_SHARE_OF_MEMORY = 0.25
"""Share of a device's free memory for the widest layer; others live beside it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Heights:
    """What the model says at points.

    Parameters
    ----------
    margin, loss
        The margin and the cross-entropy of the label (k,).
    predicted
        The predicted class (k,).
    """

    margin: Float64[Tensor, " k"]
    loss: Float64[Tensor, " k"]
    predicted: Int64[Tensor, " k"]


class Sweep:
    """The deployed model at points x + e1 v1 + e2 v2, TF32 and autocast off, for use inside ``classifier.in_use()``.

    Parameters
    ----------
    subject
        Examples and model.
    rows
        Points per pass; None: as many as the device's memory (on the CPU its cache) takes.
    """

    def __init__(self, subject: Subject, rows: int | None = None) -> None:
        self._subject, self._classifier = subject, subject.classifier
        self.rows = rows or rows_that_fit(subject.classifier, subject.x)

    def heights(
        self,
        example: int,
        directions: tuple[Float[Tensor, " *shape"], Float[Tensor, " *shape"]],
        e1: Float64[Tensor, " a"],
        e2: Float64[Tensor, " b"],
    ) -> Heights:
        """Return the model's answers for one example at all pairs of coordinates (b a,); e1 changes first."""
        x, y = self._subject.x[example], self._subject.y[example]
        along, beside = (_multiples(e.to(x.device, x.dtype), v) for e, v in zip((e1, e2), directions, strict=True))
        logits: list[Tensor] = []
        done = 0
        with torch.no_grad(), full_precision(x.device):
            while done < len(along) * len(beside):
                across, down = self._block(done, len(along), len(beside))
                # One addition per coordinate of a point: the multiples are there.
                points = ((x + beside[down])[:, None] + along[across]).flatten(0, 1)
                try:
                    # A copy: a model may return the same buffer again.
                    logits.append(self._logits(points).clone())
                except ModelError as error:
                    if not isinstance(error.__cause__, torch.OutOfMemoryError) or self.rows <= FEWEST_ROWS:
                        raise
                    self.rows = max(FEWEST_ROWS, self.rows // 2)
                    continue
                done += len(points)
            # Once for all points: on small batches these operations would take as long as a small network.
            everything = torch.cat(logits)
            return self._read(everything, y.expand(len(everything)))

    def _block(self, done: int, width: int, height: int) -> tuple[slice, slice]:
        """Return the next points as slices of e1 and of e2: a part of one row of the grid, or several rows.

        A rest of fewer than `FEWEST_ROWS` points goes with those before it: alone it would be padded.
        """
        row, column = divmod(done, width)
        if column == 0 and self.rows >= width:
            least = -(-FEWEST_ROWS // width)
            count = max(self.rows // width, least)
            rest = height - row
            return slice(0, width), slice(row, row + (count if rest >= count + least else rest))
        rest = width - column
        count = self.rows if rest >= self.rows + FEWEST_ROWS else rest
        return slice(column, column + count), slice(row, row + 1)

    def _read(self, logits: Tensor, labels: Tensor) -> Heights:
        effective = self._classifier.effective_logits(logits, labels).double()
        return Heights(
            margin=margins(effective, labels).cpu(),
            loss=cross_entropy(effective, labels).cpu(),
            predicted=logits.argmax(1).cpu(),
        )

    def _logits(self, points: Tensor) -> Tensor:
        """Return logits; for a stochastic model the log of the mean softmax over its repetitions."""
        missing = FEWEST_ROWS - len(points)
        if missing > 0:
            return self._logits(torch.cat([points, points[:1].expand(missing, *points.shape[1:])]))[:-missing]
        if not self._classifier.stochastic:
            return self._classifier.forward(points)
        count = self._classifier.repetitions
        total = sum(self._classifier.forward(points).double().softmax(1) for _ in range(count))
        return torch.log(torch.as_tensor(total) / count)


def _multiples(e: Float[Tensor, " k"], v: Float[Tensor, " *shape"]) -> Float[Tensor, "k *shape"]:
    """Return e v for each e."""
    return e.view(-1, *[1] * v.ndim) * v


def rows_that_fit(classifier: Classifier, x: Float[Tensor, "n *shape"]) -> int:
    """Return how many points to evaluate at once: a multiple of 16."""
    widest = _Widest()
    with torch.no_grad(), widest:
        classifier.forward(x[:1].expand(FEWEST_ROWS, *x.shape[1:]))
    per_row = max(widest.bytes / FEWEST_ROWS, x[0].numel() * x.element_size())
    on_gpu = x.device.type == "cuda"
    room = _SHARE_OF_MEMORY * torch.cuda.mem_get_info(x.device)[0] if on_gpu else CACHE
    blocks = int(room / per_row / FEWEST_ROWS)
    return FEWEST_ROWS * max(1, min(blocks, (MOST_ON_GPU if on_gpu else MOST_ON_CPU) // FEWEST_ROWS))


class _Widest(TorchFunctionMode):
    """Inside the block, notes the bytes that the tensors of one operation take, at most."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation and measure what goes in and comes out, one entry per row; weights are left out."""
        result = func(*args, **(kwargs or {}))
        seen = [t for t in (*_tensors(args), *_tensors((result,))) if t.ndim and len(t) == FEWEST_ROWS]
        self.bytes = max(self.bytes, sum(t.numel() * t.element_size() for t in seen))
        return result


def _tensors(values: tuple[Any, ...]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(tuple(value))


def spaced(reach: float, points: int) -> Float64[Tensor, " points"]:
    """Return coordinates from -reach to reach that hold 0 exactly; ``points`` is odd."""
    half = points // 2
    return torch.arange(-half, half + 1, dtype=torch.float64) * (reach / half)
