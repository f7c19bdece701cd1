"""What an attack is."""

from typing import Protocol, runtime_checkable

from epsball.attacks.query import Query
from epsball.ball import Ball
from epsball.randomness import Keys


@runtime_checkable
class Attack(Protocol):
    """A frozen dataclass of options, called once a chunk of examples."""

    @property
    def name(self) -> str:
        """The name under which the ledger counts it."""
        ...

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search through `query`; what it finds is what the query sees.

        ``keys`` holds one key an example of the call, indexed by ``query.index``.
        """
        ...
