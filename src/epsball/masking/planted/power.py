"""`power`: the share of planted witnesses that an attack finds."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from epsball.attacks.search import Examples, Options
from epsball.classifier import Classifier
from epsball.errors import NoGradientError
from epsball.masking.planted.haystack import Haystack
from epsball.masking.planted.needles import COST, Needles, plant
from epsball.masking.trial import Trial
from epsball.statistics import Interval, clopper_pearson

WANTED = 64
"""Needles: where all are found, the lower end of the 95% interval is .944; where all but one, .916."""

USUAL, FEWEST = 16, 6
"""Examples in whose balls needles are planted: while they can be paid, and at least."""

LEAST = 24
"""Needles, at least, for an evaluation that the caller names."""

LEAST_SHARE = 0.9
"""Share of the planted witnesses that an attack must find."""

NEEDLES = 8
"""Most needles per example."""

SEARCHED = 40
"""Passes that finding a needle takes, about."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Power:
    """How many planted witnesses an attack found.

    Parameters
    ----------
    attack
        Its name.
    planted, found
        Number of needles, and of those it found.
    examples
        In the balls of so many examples.
    rows
        The example of each needle.
    """

    attack: str
    planted: int
    found: int
    examples: int
    rows: Int64[Tensor, " planted"]

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Power":
        """Return what a diagnosis wrote of it."""
        rows = torch.tensor(document["rows"], dtype=torch.int64)
        return cls(rows=rows, **{name: document[name] for name in ("attack", "planted", "found", "examples")})

    @property
    def share(self) -> float:
        """Found of planted."""
        return self.found / self.planted

    @property
    def interval(self) -> Interval:
        """Exact 95% interval of the share, the needles taken as independent."""
        return clopper_pearson(self.found, self.planted)

    def __str__(self) -> str:
        return f"{self.share:.4f} {self.interval} ({self.found} of {self.planted} planted witnesses found)"


def power(trial: Trial) -> Power | None:
    """Return the power of the examined attack; None where needles cannot be planted, or not be paid."""
    if trial.random or trial.batch:
        return None
    affordable = trial.left() // (COST + SEARCHED * WANTED // USUAL)
    # Who names an evaluation asks for its power, whatever that costs.
    rows = _apart(trial, min(USUAL, max(affordable, FEWEST if trial.asked else 0)))
    if len(rows) < FEWEST:
        return None
    needles = plant(trial, rows, min(NEEDLES, -(-WANTED // len(rows))))
    tried: list[Tensor] = []
    found = 0
    for number in range(needles.threshold.shape[1]):
        here = torch.nonzero(needles.threshold[:, number].isfinite())[:, 0].cpu()
        last = trial.spent
        if len(here) == 0:
            continue
        found += _found(trial, needles, number, here)
        tried.append(rows[here])
        if trial.left() < trial.spent - last and (not trial.asked or sum(map(len, tried)) >= LEAST):
            break
    if not tried:
        return None
    planted = torch.cat(tried)
    return Power(
        attack=trial.examined.name,
        planted=len(planted),
        found=found,
        examples=len(planted.unique()),
        rows=planted,
    )


def finds_planted(trial: Trial) -> bool:
    """Return whether the evaluation's own attack finds planted witnesses: the lower end of its power says so."""
    found = trial.measured(power)
    return found is not None and not trial.asked and found.interval.low >= LEAST_SHARE


def _apart(trial: Trial, most: int) -> Int64[Tensor, " k"]:
    """Return standing examples, then other correct ones, whose balls do not meet."""
    standing = trial.standing()
    others = trial.rows(trial.correct & trial.broken)
    chosen: list[int] = []
    # Where almost nothing stands there is nothing that the evaluation may have missed.
    candidates = torch.cat([standing, others]) if trial.asked or len(standing) >= FEWEST else standing
    for row in candidates.tolist():
        if len(chosen) >= most:
            break
        kept = torch.tensor(chosen, dtype=torch.int64)
        x = trial.x[row : row + 1].expand(len(chosen), *trial.x.shape[1:]).contiguous()
        if not len(kept) or not bool(trial.ball.overlap(x, trial.x[kept]).any()):
            chosen.append(row)
    return torch.tensor(chosen, dtype=torch.int64)


def _found(trial: Trial, needles: Needles, number: int, here: Int64[Tensor, " m"]) -> int:
    """Return how many of one needle per example the examined attack finds."""
    rows = needles.rows[here]
    x = trial.classifier.to_model(trial.x[rows])
    there = here.to(x.device)
    some = replace(
        needles,
        rows=rows,
        **{name: getattr(needles, name)[there] for name in ("mean", "weight", "threshold", "scale")},
    )
    module = Haystack(trial.classifier.network, some, number, x, trial.ball)
    classifier = Classifier(module, low=trial.classifier.low, high=trial.classifier.high)
    examples = Examples(
        x=trial.x[rows], y=torch.zeros_like(rows), index=torch.arange(len(rows)), total=len(rows), classes=2
    )
    with classifier.in_use():
        try:
            options = Options(method=trial.examined, seed=trial.seed, batch_size=trial.batch_size)
            result = trial.searched(classifier, examples, trial.ball, options)
        except NoGradientError:
            return 0
        finally:
            trial.count(classifier.passes.forward, classifier.passes.backward)
    return int(result.broken.sum())
