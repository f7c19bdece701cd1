"""What a gate is asked: what was given, then what its lock says, then defaults."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from epsball.auditing.gating.conditions import NAMES, Condition
from epsball.auditing.gating.lock import Lock
from epsball.checks import check_seed, check_share
from epsball.errors import InputError
from epsball.interface import argument

T = TypeVar("T")

Share = str | int | float | Fraction | None

ALPHA, EFFORT, SEED = 0.05, "quick", 0
"""What holds where neither the call nor a lock says anything."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a gate is asked.

    Parameters
    ----------
    conditions
        At least one.
    alpha, effort, seed
        As for `epsball.gate`.
    """

    conditions: tuple[Condition, ...]
    alpha: float
    effort: str
    seed: int

    @classmethod
    def of(
        cls, shares: Mapping[str, Share], alpha: float | None, effort: str | None, seed: int | None, lock: Lock | None
    ) -> "Asked":
        """Return what is asked; what is None is taken from the lock, if there is one.

        Raises
        ------
        InputError
            If no condition is given, or a value breaks a rule.
        """
        locked = {} if lock is None else lock.thresholds
        given = {name: shares.get(name) if shares.get(name) is not None else locked.get(name) for name in NAMES}
        conditions = tuple(Condition.of(name, share) for name, share in given.items() if share is not None)
        if not conditions:
            raise InputError(f"no condition was given; a gate needs one of {', '.join(map(argument, NAMES))}.")
        risk = _first(alpha, None if lock is None else lock.alpha, ALPHA)
        check_share("alpha", risk)
        asked = cls(
            conditions=conditions,
            alpha=float(risk),
            effort=_first(effort, None if lock is None else lock.effort, EFFORT),
            seed=_first(seed, None if lock is None else lock.seed, SEED),
        )
        check_seed(asked.seed)
        return asked


def _first(given: T | None, locked: T | None, default: T) -> T:
    return given if given is not None else locked if locked is not None else default
