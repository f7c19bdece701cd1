"""How much the loss changes at random points within half the radius."""

from dataclasses import dataclass
from fractions import Fraction

import torch

from epsball.attacks import losses
from epsball.attacks.engine.evaluator import Evaluator
from epsball.ball import Ball
from epsball.masking.trial import Trial

DRAWS = 10

SHARE = 0.02
"""Share of the evaluation's passes that may go into it."""

MOST, FEWEST = 16, 6
"""Examples, at most and at least."""


@dataclass(frozen=True, kw_only=True)
class Instability:
    """Mean of abs(L(x') - L(x)) / abs(L(x)) over random points, at most 1, and the number of examples."""

    change: float
    examples: int


def instability(trial: Trial) -> Instability | None:
    """Return the change at as many correct examples as can be paid; None where those are too few."""
    rows = trial.rows(trial.correct, min(MOST, trial.left(SHARE) // (DRAWS + 1)))
    if len(rows) < FEWEST:
        return None
    evaluator = Evaluator(trial.classifier, "float32")
    x, y = trial.classifier.to_model(trial.x[rows]), trial.y[rows].to(trial.classifier.device, torch.int64)
    half = Ball(trial.ball.norm, Fraction(trial.ball.radius) / 2, trial.ball.low, trial.ball.high).at(x)

    def loss(points: torch.Tensor) -> torch.Tensor:
        logits = trial.classifier.effective_logits(evaluator.logits(points), y)
        return losses.cross_entropy(logits.double(), y)

    keys, own = trial.keys(rows, "instability"), loss(x)
    size = torch.where(own == 0, 1.0, own.abs())
    changes = [(loss(half.sample(keys.derive(draw))) - own).abs() / size for draw in range(DRAWS)]
    change = float(torch.stack(changes).mean().nan_to_num(nan=1.0))
    return Instability(change=min(change, 1.0), examples=len(rows))
