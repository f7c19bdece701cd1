"""What an attack is."""

from typing import Literal, Protocol, runtime_checkable

from epsball.attacks.engine.query import Query
from epsball.ball import Ball
from epsball.errors import InputError
from epsball.randomness import Keys

Domain = Literal["ball", "box"]

NORMS = ("linf", "l2", "l1")


@runtime_checkable
class Attack(Protocol):
    """A frozen dataclass of options, called once a chunk of examples.

    An attack may also declare, as attributes of its class:

    domain
        Where its points are candidates: ``"ball"`` (ball and box, the default), or ``"box"``, for
        minimum-norm attacks, whose nearest adversarial point counts also outside the ball.
    norms
        The names of the norms it is defined for (default: all).
    tolerance
        By what share, on a linear model, it may miss the least radius at which an example breaks
        (default: nothing is promised). The contract tests hold it to that.
    """

    @property
    def name(self) -> str:
        """The name under which the ledger counts it."""
        ...

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search through `query`; what it finds is what the query sees.

        ``keys`` holds one key an example of the call, indexed by ``query.index``.
        """
        ...


def domain(attack: Attack) -> Domain:
    """Return the domain that an attack declares."""
    return getattr(attack, "domain", "ball")


def norms(attack: Attack) -> tuple[str, ...]:
    """Return the names of the norms that an attack defines."""
    return getattr(attack, "norms", NORMS)


def check_norm(attack: Attack, ball: Ball) -> None:
    """Raise InputError if the ball is in a norm that the attack does not define."""
    defined = norms(attack)
    if ball.norm not in defined:
        raise InputError(
            f"the attack '{attack.name}' is defined for {', '.join(defined)}; the ball is in {ball.norm}. "
            "Take another attack, or a ball of its norm."
        )
