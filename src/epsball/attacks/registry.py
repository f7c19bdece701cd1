"""Attacks by name, and what an attack is."""

import dataclasses
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from epsball.attacks.pgd import FGSM, PGD, RandomisedFGSM
from epsball.attacks.query import Query
from epsball.ball import Ball
from epsball.errors import InputError, nearest
from epsball.randomness import Keys
from epsball.texts import split_options


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


ATTACKS: dict[str, Callable[[], Attack]] = {"pgd": PGD, "fgsm": FGSM, "fgsm-rs": RandomisedFGSM}


def resolve(method: str | Attack) -> Attack:
    """Return the attack of a text ``NAME[,option=value]...``, or the object itself.

    Options are the numbers and texts among the attack's fields: ``pgd,steps=100,restarts=5``.

    Raises
    ------
    InputError
        If no attack has that name, or it has no such option.
    """
    if not isinstance(method, str):
        return method
    name, options = split_options(method)
    if name not in ATTACKS:
        raise InputError(f"unknown attack '{name}'; known: {', '.join(ATTACKS)}.{nearest(name, ATTACKS)}")
    attack = ATTACKS[name]()
    return with_options(attack, name, options) if options else attack


def with_options(attack: Attack, name: str, options: dict[str, str]) -> Attack:
    """Return the attack with options given as texts, each read as the type its field has now."""
    current = {
        field.name: getattr(attack, field.name)
        for field in dataclasses.fields(attack)  # type: ignore[arg-type]
        if isinstance(getattr(attack, field.name), int | float | str)
    }
    values: dict[str, object] = {}
    for key, text in options.items():
        if key not in current:
            raise InputError(
                f"the attack '{name}' has no option '{key}'; it has: {', '.join(current)}.{nearest(key, current)}"
            )
        kind = type(current[key])
        try:
            values[key] = kind(text)
        except ValueError as error:
            raise InputError(f"option {key}={text} of '{name}' is no {kind.__name__}.") from error
    return dataclasses.replace(attack, **values)  # type: ignore[type-var]
