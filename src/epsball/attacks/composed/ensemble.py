"""`Ensemble`: AutoAttack's verdict at a fraction of its cost."""

from dataclasses import dataclass
from typing import ClassVar

from epsball.attacks.black_box.square import Square
from epsball.attacks.composed.multi_start import Shots
from epsball.attacks.composed.stages import run_stages
from epsball.attacks.engine.query import Query
from epsball.attacks.gradient.apgd import APGD, TargetedAPGD
from epsball.attacks.parts.protocol import Attack
from epsball.ball import Ball
from epsball.checks import check_counts, check_positive
from epsball.randomness import Keys


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Four stages, each on what the one before left, with budgets that follow the margin left.

    1. 20 steps of Auto-PGD on the cross-entropy: what an undefended model costs.
    2. 7 steps towards each of the nine likeliest other classes: the margin is blind to a class that was
       never tried, so nobody may be given up before.
    3. Square, and 20 steps from its best point: regions that gradients at the example do not point to.
    4. Rounds of shots, short ascents from structured starts and from hops, while the shots fired times rho,
       the margin left as a share of the example's own, are fewer than ``patience``.

    With ten classes an example that never breaks costs 41 + 136 + 342 passes, and 41 a shot: 683 where
    nothing lowers its margin, at most 3,389. AutoAttack takes about 9,760.

    Parameters
    ----------
    queries
        Proposals of Square.
    patience, most
        Of `epsball.attacks.composed.multi_start.Shots`.

    Notes
    -----
    Where AutoAttack's cost is: three quarters of its passes go into FAB-T and Square, and 98% into examples
    that never break. Late finds are few and near the boundary: of 7,240 ascents at examples with rho > 0.02
    after 32 of them none succeeded, of 3,844 at rho > 0.16 after four none. ``patience`` = 3 stops at rho = 0.09
    after 32, and at 0.75 after four.
    """

    queries: int = 300
    patience: float = 3.0
    most: int = 70
    tolerance: ClassVar[float] = 0.01

    def __post_init__(self) -> None:
        check_counts(self, "queries", "most")
        check_positive("patience", self.patience)

    @property
    def name(self) -> str:
        """The name of the whole; the ledger counts its stages."""
        return "ensemble"

    def stages(self, ball: Ball) -> tuple[Attack, ...]:
        """Return the attacks it is made of, in order."""
        return (
            APGD(steps=20),
            TargetedAPGD(steps=7, loss="targeted-margin"),
            Square(queries=self.queries, polish=20),
            Shots(patience=self.patience, most=self.most),
        )

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Run the stages on the standing examples."""
        run_stages(self.stages(ball), query, ball, keys)
