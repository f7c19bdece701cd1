"""What a ledger says about gradients that an attack could not use, and what works there."""

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from epsball.attacks.engine.ledger import Ledger
from epsball.interface import option

WITHOUT_GRADIENTS = (
    *("surrogate ", "trusted ", "before output ", "square", "spsa", "nes", "hop-skip-jump", "distilled"),
    *("transfer", "adaptive"),
)
"""How the names of components begin that do not rest on the model's own gradients."""

SURROGATES = ("surrogate ", "trusted ")
"""How the names of those begin that take surrogate gradients."""


def gradient_hints(ledger: Ledger, standing: Int64[Tensor, " k"], *, keyword: str = "method") -> list[str]:
    """Return one line per kind of useless gradient on the standing examples; none where no example stands.

    Each component is judged by itself: gradients are called zero where more than half of one component's were.

    Parameters
    ----------
    ledger
        Of the attack.
    standing
        Positions of the examples that it left unbroken.
    keyword
        How the interface calls the attack: ``method`` or ``attack``.
    """
    counts = GradientCounts()
    counts.add(ledger, standing)
    return counts.hints(keyword=keyword)


class GradientCounts:
    """Input gradients of each component of an attack on standing examples: all, zero ones, ones that are not finite.

    Ledgers are added one after another, so that they need not be in memory together.
    """

    def __init__(self) -> None:
        # By component, in the order of the ledgers: rows of its own, and first-hand gradients.
        self._rows: dict[str, int] = {}
        self._asked: dict[str, int] = {}
        self._zero: dict[str, int] = {}
        self._bad: dict[str, int] = {}

    def add(self, ledger: Ledger, standing: Int64[Tensor, " k"]) -> None:
        """Add the rows of a ledger that are about standing examples."""
        own = ledger.searching() & torch.isin(ledger.index, standing.cpu())
        first_hand = _first_hand(ledger)
        for name in dict.fromkeys(ledger.attack):
            mine = own & ledger.of(name)
            rows = mine & first_hand
            for counts, here in (
                (self._rows, int(mine.sum())),
                (self._asked, int(ledger.backwards[rows].sum())),
                (self._zero, int(ledger.zero_gradients[rows].sum())),
                (self._bad, int(ledger.bad_gradients[rows].sum())),
            ):
                counts[name] = counts.get(name, 0) + here

    def hints(self, *, keyword: str) -> list[str]:
        """Return one line per kind of useless gradient; none where no example stands."""
        went_on = self._went_on()
        lines = []
        for counts, what in ((self._zero, "were exactly zero"), (self._bad, _BAD)):
            at_least = 0.5 if what != _BAD else 0.0
            components = [name for name, useless in counts.items() if useless > at_least * self._asked[name]]
            if not components:
                continue
            useless, asked = (sum(of[name] for name in components) for of in (counts, self._asked))
            fact = f"{useless} of {asked} input gradients {what} on standing examples ({', '.join(components)})"
            if went_on:
                lines.append(f"{fact}; went on with {went_on}")
            else:
                advice = option(keyword, "adaptive")
                lines.append(f"{fact}: robustness may be overstated; {advice} takes surrogate gradients, or none")
        return lines

    def _went_on(self) -> str:
        """Return the components that went on without the model's gradients, if the attack has some made for that."""
        names = [name for name, rows in self._rows.items() if rows]
        if not any(name.startswith(("surrogate ", "square trial")) for name in names):
            return ""
        return ", ".join(name for name in names if name.startswith(WITHOUT_GRADIENTS))


_BAD = "had NaN or infinite entries, taken as 0"


def useless_gradients(ledger: Ledger, index: Int64[Tensor, " n"]) -> list[str | None]:
    """Return for each example ``"zero"`` or ``"not finite"`` where most gradients of a component were; else None."""
    found: dict[int, str] = {}
    own = ledger.searching() & (ledger.backwards > 0)
    for counts, word in ((ledger.bad_gradients, "not finite"), (ledger.zero_gradients, "zero")):
        rows = own & (2 * counts > ledger.backwards) & _first_hand(ledger)
        found |= dict.fromkeys(ledger.index[rows].tolist(), word)
    return [found.get(position) for position in index.tolist()]


def _first_hand(ledger: Ledger) -> Bool[Tensor, " rows"]:
    """Return which rows are those of components on the model's own gradients."""
    return torch.tensor([not name.startswith(SURROGATES) for name in ledger.attack], dtype=torch.bool)
