"""`Ensemble`: AutoAttack's verdict at a fraction of its cost."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from epsball.attacks.adaptive.broken_gradients import follow_up
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

STEPS, TARGETED_STEPS, TARGETS, GRADIENT_CHECK = 20, 7, 9, 21
"""Steps of an Auto-PGD run, and of one towards a class; classes tried; passes of the gradient check."""

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

    Where gradients are broken it goes on by itself. An example whose gradient is exactly zero at the first point of
    a stage leaves all that need one; after the second stage the gradients at the standing examples are compared with
    differences of the margin (`gradient_facts`, 21 passes). Both kinds get `BrokenGradients` at the end. For a
    model that draws random numbers the stages are those of AutoAttack's version rand, and Square, each gradient
    the mean over 20 evaluations.

    With ten classes an example that never breaks costs 41 + 136 + 21 + 342 passes and 41 per run: 704 where
    nothing lowers its margin, at most 3,410. AutoAttack takes about 9,760.

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
        """Run the stages, and then what broken gradients need."""
        suspects = self.search(query, ball, keys)
        rows = suspects.rows(suspect=True)
        follow_up(query, ball, keys, rows, queries=self.queries, patience=self.patience, most=self.most)

    def search(self, query: Query, ball: Ball, keys: Keys, *, check: bool = True) -> Suspects:
        """Run the stages, none on an example whose gradient was exactly zero; return whose gradients are broken.

        Parameters
        ----------
        query, ball, keys
            As for every attack.
        check
            Whether gradients are compared with differences on the way.

        Raises
        ------
        SearchEnded
            If no example is active any more.
        """
        stages = self.stages(ball)
        if query.stochastic:
            query, stages, check = query.averaged(SAMPLES, GradientNoise()), self._for_random_models(), False
        suspects, flat = Suspects(query), Suspects(query)
        for number, stage in enumerate(stages):
            if check and number == CHECKED:
                self._check(query, keys, suspects, flat.rows(suspect=False))
            left = flat.run(stage, ball, keys.derive(number, stage.name), flat.rows(suspect=False))
            if number == 0 and not flat.absent and len(left):
                # The cross-entropy saturates before the margin does.
                rescaled = APGD(steps=20, loss="rescaled-cross-entropy")
                rows = torch.nonzero(torch.isin(query.index, left))[:, 0]
                left = flat.run(rescaled, ball, keys.derive(rescaled.name), rows)
            flat.flags[left] = True
        suspects.flags |= flat.flags
        if flat.absent:
            query.note("no gradient reaches the input")
        return suspects

    def passes_standing(self, classes: int) -> tuple[int, int]:
        """Return the passes of an example that never breaks: where nothing lowers its margin, and at most.

        Examples
        --------
        >>> Ensemble().passes_standing(10)
        (704, 3410)
        """
        run, target = 2 * STEPS + 1, 2 * TARGETED_STEPS + 1
        before = run + 1 + target * min(TARGETS, classes - 1) + GRADIENT_CHECK + self.queries + 1 + run
        starts = MultiStart(patience=self.patience, most=self.most)
        return before + run * starts.fewest_runs, before + run * self.most

    def _for_random_models(self) -> tuple[Attack, ...]:
        """Return the stages for a model that draws random numbers: those of AutoAttack's version rand, and Square."""
        return (APGD(), APGD(loss="dlr"), Square(queries=self.queries, polish=20))

    def _check(self, query: Query, keys: Keys, suspects: Suspects, rows: Tensor) -> None:
        """Flag examples whose margin changes otherwise than the gradient says."""
        if len(rows) == 0:
            return
        query.begin_stage("gradient check")
        view = query.of(rows)
        facts = gradient_facts(view, keys.derive("gradient check"))
        suspects.flags[view.index[facts.misleading]] = True
        query.catch_up()

    def stages(self, ball: Ball) -> tuple[Attack, ...]:
        """Return the attacks it is made of, in order."""
        return (
            APGD(steps=STEPS),
            TargetedAPGD(steps=TARGETED_STEPS, loss="targeted-margin"),
            Square(queries=self.queries, polish=STEPS),
            MultiStart(patience=self.patience, most=self.most),
        )
