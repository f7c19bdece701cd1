"""What is measured after each epoch, on the examples held out and on as many trained on."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from epsball.attacks import PGD, attack
from epsball.ball import Ball
from epsball.classifier import Classifier
from epsball.risk import Bracket
from epsball.training.processes import Processes
from epsball.training.recipe import Recipe

METHOD = PGD(steps=10)
CONFIDENCE = 0.975
"""Of each of the two brackets, so that both hold together with 95%."""


@dataclass(frozen=True, kw_only=True)
class Accuracies:
    """Numbers of examples: all, classified correctly, and withstanding PGD-10 (None without a ball)."""

    total: int
    natural: int
    under_attack: int | None

    @property
    def robust_risk(self) -> Bracket | None:
        """The robust risk: at least what the attack broke, at most everything, no certificate being at hand."""
        if self.under_attack is None:
            return None
        return Bracket.of_counts(self.total - self.under_attack, self.total, self.total, CONFIDENCE)


def measure(
    classifier: Classifier,
    x: Float[Tensor, "n *shape"],
    y: Int64[Tensor, " n"],
    ball: Ball | None,
    recipe: Recipe,
    processes: Processes,
) -> Accuracies:
    """Return how many of the examples are classified correctly and withstand PGD-10; each process takes a part.

    The search runs in the recipe's precision; verdicts are those of `epsball.attack`, in float32.
    """
    mine = processes.share(torch.arange(len(x)))
    x, y = x[mine], y[mine]
    if ball is None or len(x) == 0:
        natural, robust = (classifier.logits(x).argmax(1) == y).sum() if len(x) else torch.tensor(0), None
    else:
        result = attack(classifier, x, y, ball, method=METHOD, seed=recipe.seed, precision=recipe.precision)
        natural, robust = (result.distance != 0).sum(), (~result.broken).sum()
    counts = [natural, torch.tensor(0) if robust is None else robust, torch.tensor(len(mine))]
    device = processes.device or torch.device("cpu")
    totals = [int(count) for count in processes.sum([count.to(device) for count in counts])]
    return Accuracies(total=totals[2], natural=totals[0], under_attack=None if ball is None else totals[1])
