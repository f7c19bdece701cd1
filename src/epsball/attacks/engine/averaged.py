"""Gradients averaged over repeated evaluations, with the standard error of the mean."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from epsball.attacks.engine.evaluator import Evaluated, Evaluator, Loss


class GradientNoise:
    """Relative standard errors norm(se) / norm(mean) of averaged gradients, one a gradient; NaN for single samples.

    se is the standard deviation over the samples, coordinate by coordinate, over sqrt(samples). Near
    0 the mean can be trusted; at 1 and above it is mostly noise, and more samples are needed.
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


class Averaged:
    """An evaluator whose gradients are means over `samples` evaluations of the same points.

    Each evaluation is a pass of its own, so that a model which draws once a batch draws anew. Not the
    logits are averaged before the loss but its gradients after it; the logits returned are the
    logarithm of the mean softmax, as in verdicts.

    Attributes
    ----------
    repeats
        Forwards a gradient costs.
    """

    def __init__(self, evaluator: "Evaluator | Averaged", samples: int, noise: GradientNoise) -> None:
        self._evaluator, self._samples, self._noise = evaluator, samples, noise
        self.repeats = samples * evaluator.repeats
        self.classifier, self.rounding = evaluator.classifier, evaluator.rounding

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
