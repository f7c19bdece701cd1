"""`FrontPoint`: one network of a front."""

from dataclasses import dataclass
from pathlib import Path

from epsball.statistics import Bound


@dataclass(frozen=True, kw_only=True)
class FrontPoint:
    """One network of a front.

    Parameters
    ----------
    value
        The option's value, as written.
    seed
        Of its training.
    scratch
        Whether it was trained anew, and not from its parent's weights.
    card, parent
        The card of the network, and that of the one it was trained from, or None.
    audit
        The folder of its audit.
    natural, under_attack, certified
        The accuracies, with 95% intervals; the last is None where nothing can be certified.
    uncertified
        Why nothing can be certified, or None.
    """

    value: str
    seed: int
    scratch: bool
    card: Path
    parent: Path | None
    audit: Path
    natural: Bound
    under_attack: Bound
    certified: Bound | None
    uncertified: str | None = None

    @property
    def start(self) -> str:
        """Where its training began, in words."""
        return "scratch" if self.parent is None else f"warm, from {self.parent.parent.name.partition('=')[2]}"

    @property
    def name(self) -> str:
        """The value, marked where it was trained anew beside a warm network."""
        return f"{self.value} (scratch)" if self.scratch else self.value
