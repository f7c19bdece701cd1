"""What a ledger says about gradients that an attack could not use, and what works there."""

from collections.abc import Sequence

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
    own = ledger.searching() & torch.isin(ledger.index, standing.cpu())
    if not bool(own.any()):
        return []
    went_on = _went_on(ledger, own)
    lines = []
    for counts, what in ((ledger.zero_gradients, "were exactly zero"), (ledger.bad_gradients, _BAD)):
        components = _mostly(ledger, own, counts, at_least=0.5 if what != _BAD else 0.0)
        if not components:
            continue
        useless = sum(useless for _, useless, _ in components)
        asked = sum(asked for _, _, asked in components)
        names = ", ".join(name for name, _, _ in components)
        fact = f"{useless} of {asked} input gradients {what} on standing examples ({names})"
        if went_on:
            lines.append(f"{fact}; went on with {went_on}")
        else:
            advice = option(keyword, "adaptive")
            lines.append(f"{fact}: robustness may be overstated; {advice} takes surrogate gradients, or none")
    return lines


_BAD = "had NaN or infinite entries, taken as 0"


def useless_gradients(ledger: Ledger, index: Int64[Tensor, " n"]) -> list[str | None]:
    """Return for each example ``"zero"`` or ``"not finite"`` where most gradients of a component were; else None."""
    found: dict[int, str] = {}
    own = ledger.searching() & (ledger.backwards > 0)
    for counts, word in ((ledger.bad_gradients, "not finite"), (ledger.zero_gradients, "zero")):
        rows = own & (2 * counts > ledger.backwards) & _first_hand(ledger)
        found |= dict.fromkeys(ledger.index[rows].tolist(), word)
    return [found.get(position) for position in index.tolist()]


def _mostly(
    ledger: Ledger, own: Bool[Tensor, " rows"], counts: Tensor, *, at_least: float
) -> list[tuple[str, int, int]]:
    """Return name, useless and all gradients of the components of which more than a share were useless."""
    out = []
    for name in dict.fromkeys(ledger.attack):
        rows = own & ledger.of(name) & _first_hand(ledger)
        useless, asked = int(counts[rows].sum()), int(ledger.backwards[rows].sum())
        if useless > at_least * asked:
            out.append((name, useless, asked))
    return out


def _first_hand(ledger: Ledger) -> Bool[Tensor, " rows"]:
    """Return which rows are those of components on the model's own gradients."""
    return torch.tensor([not name.startswith(SURROGATES) for name in ledger.attack], dtype=torch.bool)


def _went_on(ledger: Ledger, own: Bool[Tensor, " rows"]) -> str:
    """Return the components that went on without the model's gradients, if the attack has some made for that."""
    names: Sequence[str] = [name for name in dict.fromkeys(ledger.attack) if bool((own & ledger.of(name)).any())]
    if not any(name.startswith(("surrogate ", "square trial")) for name in names):
        return ""
    return ", ".join(name for name in names if name.startswith(WITHOUT_GRADIENTS))
