"""An attack under a name of its own in ledgers and results."""

from dataclasses import dataclass

from epsball.attacks.engine.query import Query
from epsball.attacks.parts.attack import Attack
from epsball.ball import Ball
from epsball.randomness import Keys


@dataclass(frozen=True, kw_only=True, eq=False)
class Named(Attack):
    """An attack, counted under another name.

    Parameters
    ----------
    method
        The attack.
    label
        Its name here.
    """

    method: Attack
    label: str

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The name here."""
        return self.label

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Run the attack."""
        self.method(query, ball, keys=keys)
