"""`Surface`: one scalar function of the input per example, f_i(x') = F(h(x'), y_i), with its gradient."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from epsball.attacks.engine.evaluator import AveragedEvaluator, Evaluator, GradientNoise
from epsball.classifier import Classifier
from epsball.classifier.margins import margins
from epsball.errors import lookup

FunctionName = Literal["margin", "cross-entropy"]

Function = Callable[[Tensor, Tensor], Tensor]
"""Maps logits (m, classes) and labels (m,) to one value per row."""


def cross_entropy(logits: Float[Tensor, "m classes"], y: Int64[Tensor, " m"]) -> Float64[Tensor, " m"]:
    """Return -log softmax(z)_y = z_t - z_y + log(1 + sum_{j != t} exp(z_j - z_t)) in float64, t the largest logit.

    In this form it does not round to 0 where one class wins by far.
    """
    z = logits.double()
    top, t = z.max(dim=1, keepdim=True)
    others = (z - top).exp().scatter(1, t, 0.0).sum(1)
    return (top - z.gather(1, y[:, None]))[:, 0] + others.log1p()


FUNCTIONS: dict[str, Function] = {"margin": margins, "cross-entropy": cross_entropy}

ROWS = 256
"""Points per gradient pass."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Surface:
    """A scalar function of the input around each example, for use inside ``classifier.in_use()``.

    Values and their differences are float64: what rounds is the model. Passes are counted by the classifier.
    The gradients of a stochastic model are means over its repetitions.

    Parameters
    ----------
    evaluator
        Runs the model.
    x, y
        The centres (n, *shape), on the device and in the dtype of the model, and their labels (n,).
    function
        Maps logits and labels to values.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> from epsball.masking.geometry import Surface
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> surface = Surface.of(classifier, torch.tensor([[0.75, 0.25]]), torch.tensor([0]), "margin")
    >>> with classifier.in_use():
    ...     surface.gradients(surface.x)
    (tensor([0.5000], dtype=torch.float64), tensor([[ 1., -1.]]))
    """

    evaluator: Evaluator | AveragedEvaluator
    x: Float[Tensor, "n *shape"]
    y: Int64[Tensor, " n"]
    function: Function

    @classmethod
    def of(cls, classifier: Classifier, x: Tensor, y: Tensor, function: FunctionName | Function) -> "Surface":
        """Return the surface of a function, by name or as a callable, around checked examples."""
        evaluator: Evaluator | AveragedEvaluator = Evaluator(classifier, "float32")
        if classifier.stochastic:
            evaluator = AveragedEvaluator(evaluator, classifier.repetitions, GradientNoise())
        x = classifier.to_model(x.detach())
        chosen = function if callable(function) else lookup(FUNCTIONS, function, "function")
        return cls(evaluator=evaluator, x=x, y=y.to(x.device, torch.int64), function=chosen)

    def values(
        self, points: Float[Tensor, "m *shape"], owners: Int64[Tensor, " m"] | None = None
    ) -> Float64[Tensor, " m"]:
        """Return f_i at points; ``owners`` names the example i of each (None: one each, in order)."""
        labels = self._labels(owners)
        parts = zip(points.split(ROWS), labels.split(ROWS), strict=True)
        return torch.cat([self._of_logits(self.evaluator.logits(block), y) for block, y in parts])

    def gradients(
        self, points: Float[Tensor, "m *shape"], owners: Int64[Tensor, " m"] | None = None
    ) -> tuple[Float64[Tensor, " m"], Float[Tensor, "m *shape"]]:
        """Return f_i and its gradient at points: one forward and one backward each.

        Raises
        ------
        NoGradientError
            If no gradient reaches the input.
        """
        values, gradients = [], []
        for block, y in zip(points.split(ROWS), self._labels(owners).split(ROWS), strict=True):
            _, (value,), (gradient,) = self.evaluator.gradients(block, [self._with_labels(y)])
            values.append(value)
            gradients.append(gradient)
        return torch.cat(values), torch.cat(gradients)

    def _labels(self, owners: Tensor | None) -> Tensor:
        return self.y if owners is None else self.y[owners]

    def _with_labels(self, y: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda logits, points: self._of_logits(logits, y)

    def _of_logits(self, logits: Tensor, y: Tensor) -> Tensor:
        effective = self.evaluator.classifier.effective_logits(logits[: len(y)], y)
        return self.function(effective, y).double()
