"""Running the model during a search: padding, precision, logits and input gradients."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from epsball.classifier import Classifier
from epsball.errors import InputError, nearest

FEWEST_ROWS = 16
"""Batches are padded to this many rows: on the CPU a row's logits depend on smaller batch sizes."""

PRECISIONS = ("float32", "bf16")

Evaluated = tuple[Tensor, list[Tensor], list[Tensor]]


class Evaluator:
    """The model as a search runs it, in the precision asked for; verdicts never come from here.

    Parameters
    ----------
    classifier
        The model; its passes are counted, those of padded rows too.
    precision
        ``"float32"`` runs the module in its own dtype. ``"bf16"`` runs a copy with
        channels-last weights under bfloat16 autocast.

    Attributes
    ----------
    padding
        Passes (forward, backward) spent on padded rows.
    """

    def __init__(self, classifier: Classifier, precision: str) -> None:
        if precision not in PRECISIONS:
            raise InputError(
                f"unknown precision '{precision}'; known: {', '.join(PRECISIONS)}.{nearest(precision, PRECISIONS)}"
            )
        self.classifier = classifier
        self.reduced = precision == "bf16"
        self._device, self._dtype = classifier.device, classifier.dtype
        self.network = self._channels_last() if self.reduced else classifier.network
        self.padding = [0, 0]

    def _channels_last(self) -> torch.nn.Module:
        if self._dtype != torch.float32:
            raise InputError(f"precision 'bf16' is for float32 models; this one is {self._dtype}.")
        network = copy.deepcopy(self.classifier.network)
        return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    @contextmanager
    def _autocast(self) -> Iterator[None]:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self.reduced):
            yield

    def _run(self, points: Tensor) -> Tensor:
        self.classifier.passes.forward += len(points)
        with self._autocast():
            return self.network(points).to(self._dtype)

    def _padded(self, points: Tensor) -> Tensor:
        missing = FEWEST_ROWS - len(points)
        if missing > 0:
            self.padding[0] += missing
            points = torch.cat([points, points[:1].expand(missing, *points.shape[1:])])
        if self.reduced and points.ndim == 4:
            points = points.contiguous(memory_format=torch.channels_last)
        return points

    def logits(self, points: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """Return logits without a gradient."""
        with torch.no_grad():
            return self._run(self._padded(points))[: len(points)]

    def gradients(self, points: Float[Tensor, "n *shape"], losses: Sequence[Callable[[Tensor], Tensor]]) -> Evaluated:
        """Return logits, per-example losses of them, and each loss's gradient in the points.

        One forward, and one backward a loss.
        """
        n = len(points)
        leaf = self._padded(points).detach().requires_grad_()
        with torch.enable_grad():
            logits = self._run(leaf)[:n]
            values = [loss(logits) for loss in losses]
            gradients = []
            for i, value in enumerate(values):
                self.padding[1] += len(leaf) - n
                gradient = self.classifier.gradient(value, leaf, keep=i + 1 < len(values))
                gradients.append(gradient[:n].contiguous())
        return logits.detach(), [value.detach() for value in values], gradients
