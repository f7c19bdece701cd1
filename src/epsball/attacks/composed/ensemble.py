"""`Ensemble`: AutoAttack's verdict at a fraction of its cost."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from epsball.attacks.adaptive.broken_gradients import BrokenGradients
from epsball.attacks.adaptive.gradient_facts import gradient_facts
from epsball.attacks.adaptive.suspects import Suspects
from epsball.attacks.black_box.square import Square
from epsball.attacks.composed.multi_start import MultiStart
from epsball.attacks.engine.evaluator import GradientNoise
from epsball.attacks.engine.query import Query
from epsball.attacks.gradient.apgd import APGD, TargetedAPGD
from epsball.attacks.parts.attack import Attack, StagedAttack
from epsball.ball import Ball
from epsball.checks import check_counts, check_positive
from epsball.randomness import Keys

CHECKED = 2
"""The stage before which gradients are compared with differences, on what the ones before it left unbroken."""

SAMPLES = 20
"""Evaluations per gradient of a model that draws random numbers."""


@dataclass(frozen=True, kw_only=True)
class Ensemble(StagedAttack):
    """Four stages, each on what the one before left unbroken, with budgets that follow the remaining margin.

    1. 20 steps of Auto-PGD on the cross-entropy: enough for an undefended model.
    2. 7 steps towards each of the nine likeliest other classes: the margin says nothing about a class that
       was never tried, so no example is given up before.
    3. Square, and 20 steps from its best point: regions to which gradients at the example do not point.
    4. `MultiStart`: short runs from structured starts, while the number of runs times rho, the remaining
       margin as a share of the example's own, is below ``patience``.

    With ten classes an example that never breaks costs 41 + 136 + 342 passes and 41 per run: 683 where
    nothing lowers its margin, at most 3,389. AutoAttack takes about 9,760.

    Parameters
    ----------
    queries
        Proposals of Square.
    patience, most
        Of `epsball.attacks.composed.multi_start.MultiStart`.

    Notes
    -----
    AutoAttack spends three quarters of its passes on FAB-T and Square, and 98% on examples that never break.
    Late successes are few and near the boundary: of 7,240 runs after the 32nd, at examples with rho > 0.02,
    none succeeded; nor did any of 3,844 after the fourth, at rho > 0.16. ``patience`` = 3 stops after 32 runs at
    rho = 0.09, and after four at 0.75.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.Identity())
    >>> x, y = torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([0])
    >>> eb.attack(classifier, x, y, eb.Ball("linf", 0.4), method=eb.attacks.Ensemble(patience=10.0)).by
    ['apgd-ce']
    """

    name: ClassVar[str] = "ensemble"
    tolerance: ClassVar[float | None] = 0.01

    queries: int = 300
    patience: float = 3.0
    most: int = 70

    def __post_init__(self) -> None:
        check_counts(self, "queries", "most")
        check_positive("patience", self.patience)

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Run the stages, those that need gradients where there are some, and what broken gradients need."""
        if query.stochastic:
            query = query.averaged(SAMPLES, GradientNoise())
        suspects, flat = Suspects(query), Suspects(query)
        for number, stage in enumerate(self.stages(ball)):
            if number == CHECKED and not query.stochastic:
                self._check(query, keys, suspects)
            left = flat.run(stage, ball, keys.derive(number, stage.name), flat.rows(suspect=False))
            if number == 0 and not flat.absent and len(left):
                flags = torch.isin(query.index, left)
                rescaled = APGD(steps=20, loss="rescaled-cross-entropy")
                left = flat.run(rescaled, ball, keys.derive(rescaled.name), torch.nonzero(flags)[:, 0])
            flat.flags[left] = True
        suspects.flags |= flat.flags
        rows = suspects.rows(suspect=True)
        if len(rows):
            plan = BrokenGradients(patience=self.patience, most=self.most)
            plan(query.of(rows), ball, keys=keys.derive(plan.name))

    def _check(self, query: Query, keys: Keys, suspects: Suspects) -> None:
        """Flag examples whose margin changes otherwise than the gradient says."""
        rows = torch.arange(len(query.index), device=query.index.device)
        query.begin_stage("gradient check")
        try:
            facts = gradient_facts(query.of(rows), keys.derive("gradient check"))
        finally:
            query.catch_up()
        suspects.flags[query.index[facts.misleading]] = True

    def stages(self, ball: Ball) -> tuple[Attack, ...]:
        """Return the attacks it is made of, in order."""
        return (
            APGD(steps=20),
            TargetedAPGD(steps=7, loss="targeted-margin"),
            Square(queries=self.queries, polish=20),
            MultiStart(patience=self.patience, most=self.most),
        )
