"""Running the model during a search: padding, precision, logits and input gradients, single or averaged."""

import copy
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsball.attacks.engine.thin_convolutions import ThinConvolutions
from epsball.classifier import Classifier
from epsball.deployed_state import DeployedState
from epsball.errors import ModelError
from epsball.names import Precision

FEWEST_ROWS = 16
"""Batches are padded to this many rows: in smaller ones a row's logits depend on the batch size on the CPU."""

PRECISIONS: tuple[Precision, ...] = get_args(Precision)

Loss = Callable[[Tensor, Tensor], Tensor]
"""Maps (logits, points) to one loss per row."""

Evaluated = tuple[Tensor, list[Tensor], list[Tensor]]


class GradientMode(Protocol):
    """What changes how a network is differentiated while it runs, and leaves its values alone."""

    def attached(self, output: Tensor) -> Tensor:
        """Return the network's output with its gradient."""
        ...


class Evaluator:
    """The model as a search runs it, in the requested precision; verdicts never come from here.

    Parameters
    ----------
    classifier
        The model; all its passes are counted, those of padded rows too.
    precision
        ``"float32"`` runs the module in its own dtype, ``"bf16"`` a copy of it under bfloat16 autocast.
        In bfloat16, and in networks with max-pooling, images are channels last where the module allows it.

    Attributes
    ----------
    gradient_mode
        Makes the block in which the network runs where gradients are asked for; None: as it is.
    padding
        Passes (forward, backward) spent on padded rows.
    repeats
        Forwards per gradient.
    rounding
        A margin of at least this share of the logits' size is assumed to keep its sign in the canonical
        pass: the square root of the arithmetic's unit roundoff.

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
        self._state = DeployedState(self.network) if self.reduced else None
        self._channels_last = self.reduced or any(isinstance(m, nn.MaxPool2d) for m in self.network.modules())
        self.gradient_mode: Callable[[nn.Module], AbstractContextManager[GradientMode]] | None = None
        self.padding = [0, 0]
        self.rounding = math.sqrt(torch.finfo(torch.bfloat16 if self.reduced else self._dtype).eps)

    def logits(self, points: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """Return logits without a gradient."""
        with torch.no_grad():
            return self._run(self._padded(points))[: len(points)].clone()

    def gradients(self, points: Float[Tensor, "n *shape"], losses: Sequence[Loss]) -> Evaluated:
        """Return logits, per-example losses, and each loss's gradient in the points.

        One forward, and one backward per loss.
        """
        n = len(points)
        leaf = self._padded(points).detach().requires_grad_()
        # A loss's own dependence on the points must not count as a gradient of the model.
        beside = leaf.detach().requires_grad_()
        with torch.enable_grad():
            logits = _first(self._differentiably(leaf), n)
            values = [loss(logits, _first(beside, n)) for loss in losses]
            gradients = []
            for i, value in enumerate(values):
                self.padding[1] += len(leaf) - n
                gradient = self.classifier.gradient(value, leaf, beside, keep=i + 1 < len(values))
                gradients.append(_first(gradient, n).contiguous())
        return logits.detach(), [value.detach() for value in values], gradients

    def borrow(self, network: nn.Module) -> None:
        """Run another network of the same inputs from now on, in the dtype of the model."""
        self.network, self.reduced, self._state = network, False, None

    def _differentiably(self, leaf: Tensor) -> Tensor:
        """Return logits with a graph."""
        if self.gradient_mode is None:
            with ThinConvolutions():
                return self._run(leaf)
        with ThinConvolutions(), self.gradient_mode(self.network) as mode:
            return mode.attached(self._run(leaf))

    def differentiated_by(self, mode: Callable[[nn.Module], AbstractContextManager[GradientMode]]) -> "Evaluator":
        """Return this evaluator with gradients taken in another mode."""
        evaluator = copy.copy(self)
        evaluator.gradient_mode = mode
        return evaluator

    def _padded(self, points: Tensor) -> Tensor:
        missing = FEWEST_ROWS - len(points)
        if missing <= 0:
            return points
        self.padding[0] += missing
        return torch.cat([points, points[:1].expand(missing, *points.shape[1:])])

    def _run(self, points: Tensor) -> Tensor:
        """Return logits in the model's dtype; its last layers may compute in another one."""
        if not self.reduced:
            return self._forward(points).to(self._dtype)
        with torch.autocast(self._device.type, torch.bfloat16):
            return self._forward(points).to(self._dtype)

    def _forward(self, points: Tensor) -> Tensor:
        """Run the network, channels last until that turns out to fail."""
        if not self._channels_last or points.ndim != 4:
            return self.classifier.run(self.network, points, copied=self._state)
        try:
            return self.classifier.run(self.network, points, torch.channels_last, copied=self._state)
        except ModelError:
            self.classifier.passes.forward -= len(points)
            self._channels_last = False
            if self.reduced:
                lay_out(self.network, torch.contiguous_format)
                self._state = DeployedState(self.network)
            return self.classifier.run(self.network, points, copied=self._state)


class GradientNoise:
    """Relative standard errors norm(se) / norm(mean) of averaged gradients, one each; NaN for single samples.

    se is the standard deviation over the samples, coordinate by coordinate, over sqrt(samples). Near
    0 the mean can be trusted; at 1 and above it is mostly noise, and more samples are needed.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> noise = eb.attacks.GradientNoise()
    >>> noise.add(torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 0.5]]))
    >>> print(noise)
    relative standard error of 1 mean gradients: 0.100 [0.100, 0.100]
    """

    def __init__(self) -> None:
        self._values: list[Tensor] = []

    def add(self, mean: Float[Tensor, "m *shape"], error: Float[Tensor, "m *shape"]) -> None:
        """Note the mean gradients and their standard errors."""
        size, noise = (torch.linalg.vector_norm(v.flatten(1), dim=1) for v in (mean, error))
        self._values.append(torch.where(noise == 0, noise, noise / size).cpu())

    @property
    def relative_errors(self) -> Float[Tensor, " gradients"]:
        """All of them, in the order of the evaluations."""
        return torch.cat(self._values) if self._values else torch.zeros(0)

    def __str__(self) -> str:
        errors = self.relative_errors
        if len(errors) == 0:
            return "no gradient was averaged"
        if bool(errors.isnan().any()):
            return "gradients of one sample have no standard error; take 2 samples or more"
        low, middle, high = (float(errors.double().quantile(q)) for q in (0.05, 0.5, 0.95))
        return f"relative standard error of {len(errors)} mean gradients: {middle:.3f} [{low:.3f}, {high:.3f}]"


class AveragedEvaluator:
    """An evaluator whose gradients are means over `samples` evaluations of the same points.

    Each evaluation is a pass of its own, so that a model that draws once per batch draws again. Gradients
    are averaged after the loss, not logits before it; the logits returned are the logarithm of the mean
    softmax, as in verdicts.

    Attributes
    ----------
    repeats
        Forwards per gradient.
    """

    def __init__(
        self, evaluator: "Evaluator | AveragedEvaluator | BorrowedGradients", samples: int, noise: GradientNoise
    ) -> None:
        self._evaluator, self._samples, self._noise = evaluator, samples, noise
        self.repeats = samples * evaluator.repeats
        self.classifier, self.rounding = evaluator.classifier, evaluator.rounding

    def differentiated_by(
        self, mode: Callable[[nn.Module], AbstractContextManager[GradientMode]]
    ) -> "AveragedEvaluator":
        """Return this evaluator with gradients taken in another mode."""
        return AveragedEvaluator(self._evaluator.differentiated_by(mode), self._samples, self._noise)

    def logits(self, points: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """Return logits of one evaluation."""
        return self._evaluator.logits(points)

    def gradients(self, points: Float[Tensor, "n *shape"], losses: Sequence[Loss]) -> Evaluated:
        """Return the log of the mean softmax, mean losses and mean gradients; note their standard errors.

        Mean and squares are updated sample by sample: M_k = M_{k-1} + (g - M_{k-1}) / k and
        S_k = S_{k-1} + (g - M_{k-1}) (g - M_k); se^2 = S_n / (n (n - 1)).
        """
        softmax, values, means, squares = torch.tensor(0.0), [], [], []
        for k in range(1, self._samples + 1):
            logits, losses_now, gradients = self._evaluator.gradients(points, losses)
            softmax = softmax + logits.double().softmax(1) / self._samples
            if k == 1:
                values, means = losses_now, gradients
                squares = [torch.zeros_like(gradient) for gradient in gradients]
                continue
            values = [value + (now - value) / k for value, now in zip(values, losses_now, strict=True)]
            for i, gradient in enumerate(gradients):
                before = gradient - means[i]
                means[i] = means[i] + before / k
                squares[i] += before * (gradient - means[i])
        pairs = self._samples * (self._samples - 1)
        for mean, square in zip(means, squares, strict=True):
            self._noise.add(mean, (square / pairs).sqrt())
        return softmax.log().to(points.dtype), values, means


class BorrowedGradients:
    """An evaluator whose losses and gradients are those of another network, and whose logits are the model's own.

    Parameters
    ----------
    evaluator
        Evaluates the model.
    network
        Maps inputs to logits as the model does, in evaluation mode with frozen parameters; its passes count as
        the model's.

    Attributes
    ----------
    repeats
        Forwards per gradient.
    """

    repeats = 1

    def __init__(self, evaluator: Evaluator, network: nn.Module) -> None:
        self._evaluator, self._lender = evaluator, copy.copy(evaluator)
        self._lender.borrow(network)
        self.classifier, self.rounding = evaluator.classifier, evaluator.rounding

    def logits(self, points: Float[Tensor, "n *shape"]) -> Float[Tensor, "n classes"]:
        """Return the model's logits."""
        return self._evaluator.logits(points)

    def gradients(self, points: Float[Tensor, "n *shape"], losses: Sequence[Loss]) -> Evaluated:
        """Return logits, losses and gradients of the other network."""
        return self._lender.gradients(points, losses)

    def differentiated_by(
        self, mode: Callable[[nn.Module], AbstractContextManager[GradientMode]]
    ) -> "BorrowedGradients":
        """Return this evaluator with the other network's gradients taken in another mode."""
        evaluator = copy.copy(self)
        evaluator._lender = self._lender.differentiated_by(mode)
        return evaluator


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
