"""How much an audit spends, how large its pieces are, and the values its options take."""

import warnings
from dataclasses import dataclass

from epsball.attacks import Attack, Ensemble
from epsball.errors import InputError, lookup
from epsball.names import EffortName as EffortName


@dataclass(frozen=True, kw_only=True)
class Effort:
    """What an effort buys.

    Parameters
    ----------
    attack
        The attack, where none is named.
    certificate_passes
        Most passes spent on the certificates of one example by the cascade; None: no limit.
    branching_passes
        Most passes spent after it on branch and bound, on an example that is neither certified nor broken; 0: none.
    """

    attack: Attack
    certificate_passes: int | None
    branching_passes: int


EFFORTS: dict[str, Effort] = {
    "quick": Effort(attack=Ensemble(), certificate_passes=5_000, branching_passes=0),
    "standard": Effort(
        attack=Ensemble(queries=1000, patience=10.0, most=140), certificate_passes=50_000, branching_passes=100_000
    ),
    "full": Effort(
        attack=Ensemble(queries=5000, patience=30.0, most=420), certificate_passes=None, branching_passes=1_000_000
    ),
}

SHARD = 1000
"""Examples audited and written as one piece."""

LIMIT_BYTES = 1 << 30
"""Size of the stored examples above which their optimal risk is left to ``epsball limit``."""


def effort_of(effort: str | None, budget: str | None = None) -> Effort:
    """Return the effort of a name, ``"quick"`` where none is given; `budget` is the name's old keyword.

    Raises
    ------
    InputError
        If both keywords are given, or no effort has that name.
    """
    if budget is not None:
        if effort is not None:
            raise InputError(f"effort is '{effort}' and budget is '{budget}'; they mean the same. Give effort only.")
        warnings.warn(f"audit's budget is now effort; write effort='{budget}'.", DeprecationWarning, stacklevel=3)
    named = [name for name in (effort, budget) if name is not None]
    return lookup(EFFORTS, named[0] if named else "quick", "effort")
