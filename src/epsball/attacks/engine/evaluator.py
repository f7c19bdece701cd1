"""Running the model during a search: padding, precision, logits and input gradients."""

import copy
import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsball.attacks.engine.thin_convolutions import ThinConvolutions
from epsball.classifier import Classifier
from epsball.errors import ModelError

FEWEST_ROWS = 16
"""Batches are padded to this many rows: on the CPU a row's logits depend on smaller batch sizes."""

PRECISIONS = ("float32", "bf16")

Loss = Callable[[Tensor, Tensor], Tensor]
"""Maps (logits, points) to one loss a row."""

Evaluated = tuple[Tensor, list[Tensor], list[Tensor]]


class Evaluator:
    """The model as a search runs it, in the precision asked for; verdicts never come from here.

    Parameters
    ----------
    classifier
        The model; its passes are counted, those of padded rows too.
    precision
        ``"float32"`` runs the module in its own dtype. ``"bf16"`` runs a copy under bfloat16 autocast.
        Images go channels last, where the module allows it, in bfloat16 and into networks with max-pooling.

    Attributes
    ----------
    padding
        Passes (forward, backward) spent on padded rows.
    repeats
        Forwards a gradient costs.
    rounding
        A margin of this share of the logits' size is taken to keep its sign in the canonical pass: the
        square root of the arithmetic's unit.

    Raises
    ------
    ModelError
        If the model is not float32, or cannot be copied, for a search in bfloat16.
    """

    repeats = 1

    def __init__(self, classifier: Classifier, precision: str) -> None:
        self.classifier = classifier
        self.reduced = precision == "bf16"
        self._device, self._dtype = classifier.device, classifier.dtype
        self.network = _copied(classifier) if self.reduced else classifier.network
        self._channels_last = self.reduced or any(isinstance(m, nn.MaxPool2d) for m in self.network.modules())
        self.padding = [0, 0]
        self.rounding = math.sqrt(torch.finfo(torch.bfloat16 if self.reduced else self._dtype).eps)

    def logits(self, points: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """Return logits without a gradient."""
        with torch.no_grad():
            return self._run(self._padded(points))[: len(points)].clone()

    def gradients(self, points: Float[Tensor, "n *shape"], losses: Sequence[Loss]) -> Evaluated:
        """Return logits, per-example losses, and each loss's gradient in the points.

        One forward, and one backward a loss.
        """
        n = len(points)
        leaf = self._padded(points).detach().requires_grad_()
        # What a loss takes from the points themselves must not pass for a gradient of the model.
        beside = leaf.detach().requires_grad_()
        with torch.enable_grad():
            with ThinConvolutions():
                logits = _first(self._run(leaf), n)
            values = [loss(logits, _first(beside, n)) for loss in losses]
            gradients = []
            for i, value in enumerate(values):
                self.padding[1] += len(leaf) - n
                gradient = self.classifier.gradient(value, leaf, beside, keep=i + 1 < len(values))
                gradients.append(_first(gradient, n).contiguous())
        return logits.detach(), [value.detach() for value in values], gradients

    def _padded(self, points: Tensor) -> Tensor:
        missing = FEWEST_ROWS - len(points)
        if missing <= 0:
            return points
        self.padding[0] += missing
        return torch.cat([points, points[:1].expand(missing, *points.shape[1:])])

    def _run(self, points: Tensor) -> Tensor:
        """Return logits in the model's dtype: its last layers may compute in another one."""
        if not self.reduced:
            return self._forward(points).to(self._dtype)
        with torch.autocast(self._device.type, torch.bfloat16):
            return self._forward(points).to(self._dtype)

    def _forward(self, points: Tensor) -> Tensor:
        """Run the network, channels last until it turns out not to take that."""
        if not self._channels_last or points.ndim != 4:
            return self.classifier.run(self.network, points)
        try:
            return self.classifier.run(self.network, points, torch.channels_last)
        except ModelError:
            self.classifier.passes.forward -= len(points)
            self._channels_last = False
            if self.reduced:
                lay_out(self.network, torch.contiguous_format)
            return self.classifier.run(self.network, points)


def _first(values: Tensor, n: int) -> Tensor:
    """Return the first n rows; all of them as they are."""
    return values if len(values) == n else values[:n]


def _copied(classifier: Classifier) -> nn.Module:
    """Return a copy of the network with its convolutions' weights channels last."""
    if classifier.dtype != torch.float32:
        raise ModelError(f"precision 'bf16' is for float32 models; this one is {classifier.dtype}.")
    try:
        network = copy.deepcopy(classifier.network)
    except (RuntimeError, TypeError, AttributeError, NotImplementedError) as error:
        raise ModelError(f"the model cannot be copied for a bf16 search ({error}); use precision 'float32'.") from error
    lay_out(network, torch.channels_last)
    return network


def lay_out(network: nn.Module, memory_format: torch.memory_format) -> None:
    """Store the weights of four axes in a memory format."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=memory_format)
