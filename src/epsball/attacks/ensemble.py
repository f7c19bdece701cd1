"""`Ensemble`: AutoAttack's verdict at a fraction of its cost."""

from dataclasses import dataclass
from typing import ClassVar

from epsball.attacks.apgd import APGD, TargetedAPGD
from epsball.attacks.composition import run_stages
from epsball.attacks.protocol import Attack
from epsball.attacks.query import Query
from epsball.attacks.shots import Shots
from epsball.attacks.square import Square
from epsball.ball import Ball
from epsball.randomness import Keys


@dataclass(frozen=True, kw_only=True, eq=False)
class Ensemble:
    patience: float = 2.0
    most: int = 70
    queries: int = 300
    tolerance: ClassVar[float] = 0.01

    @property
    def name(self) -> str:
        """The name under which the ledger counts it."""
        return "ensemble"

    @property
    def stages(self) -> tuple[Attack, ...]:
        """The attacks it is made of, in order."""
        return (
            APGD(steps=20),
            TargetedAPGD(steps=7, loss="targeted-margin"),
            Square(queries=self.queries, polish=20),
            Shots(patience=self.patience, most=self.most),
        )

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Run the stages on the standing examples."""
        run_stages(self.stages, query, ball, keys)
