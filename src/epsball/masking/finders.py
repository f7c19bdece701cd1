"""What the names of attacks, as ledgers have them, say about how they search."""

from typing import Literal

Kind = Literal["cross-entropy", "margin", "queries", "transfer", "adaptive"]

BEGINNINGS: dict[str, Kind] = {
    "apgd-ce": "cross-entropy",
    "plain pgd": "cross-entropy",
    "pgd-": "cross-entropy",
    "fgsm": "cross-entropy",
    "mi-fgsm": "cross-entropy",
    "apgd-": "margin",
    "shots": "margin",
    "fab": "margin",
    "second-order": "margin",
    "square": "queries",
    "spsa": "queries",
    "nes": "queries",
    "hop-skip-jump": "queries",
    "distilled": "queries",
    "random corners": "queries",
    "collision": "queries",
    "transfer": "transfer",
    "baseline": "transfer",
}
"""How the names begin; the first entry that fits counts."""


def kind_of(by: str | None) -> Kind:
    """Return how an attack of that name searches: by another gradient, where nothing else is known of it."""
    for begin, kind in BEGINNINGS.items():
        if (by or "").startswith(begin):
            return kind
    return "adaptive"
