"""``epsball card``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from epsball.cli.common import Common, Output, output

if TYPE_CHECKING:
    from epsball.models.card import Card

_COMMON = Common()


class _Shown:
    """A card as a result: a table, or its JSON."""

    def __init__(self, card: "Card") -> None:
        self.card = card

    def to_json(self) -> dict[str, Any]:
        """Return the card."""
        return self.card.to_json()

    def __str__(self) -> str:
        from epsball.results import text_table

        document = self.card.to_json()
        training = document.pop("training")
        history = training.pop("history", [])
        rows = [(key, str(value)) for key, value in {**document, **_flat(training)}.items()]
        lines = [text_table(("card", ""), rows)]
        if history:
            numbers = ("epoch", "loss", "natural", "under_attack")
            shown = [tuple(epoch.get(name) for name in numbers) for epoch in history]
            lines += ["", text_table(("epoch", "loss", "natural", "under attack"), shown)]
        return "\n".join(lines)


def card(path: Path, /, *, common: Common = _COMMON) -> Output:
    """Show the card of a trained model: what it is, how it was trained, and the accuracies of its epochs.

    Parameters
    ----------
    path
        A file card.json or best.json written by training, as in runs/first/card.json.
    """
    from epsball.models.card import read_card

    return output(_Shown(read_card(path)), common, heading=f"{path}", notes={})


def _flat(document: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, keys joined by dots."""
    entries: dict[str, Any] = {}
    for key, value in document.items():
        entries |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return entries
