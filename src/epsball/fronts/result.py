"""What `front` returns: the points of a front, with their accuracies, and what their differences mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from epsball.auditing import Comparison
from epsball.fronts.figure import front_figure
from epsball.fronts.point import FrontPoint
from epsball.results import Result, arrow_table, jsonable, text_table

if TYPE_CHECKING:
    import pyarrow
    from matplotlib.figure import Figure

PLACES = ("natural accuracy", "accuracy under attack", "certified accuracy")
SEEDS = 4
"""Seeds per value from which something is said about the option, and not only about the networks."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Front(Result):
    """Networks between certified and natural accuracy.

    Parameters
    ----------
    points
        In the order of training: per seed from the most certified to the most natural value, then those trained anew.
    option, objective, ball
        What varies, of which objective, and the perturbation set.
    examples
        What the accuracies were measured on.
    comparison
        Of the networks, or over seeds of the values; None where there are not two of them yet.
    interrupted
        Whether points are missing.
    """

    points: tuple[FrontPoint, ...]
    option: str
    objective: str
    ball: str
    examples: str
    comparison: Comparison | None = None
    interrupted: bool = False

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, in order."""
        return tuple(dict.fromkeys(point.seed for point in self.points))

    def __str__(self) -> str:
        header = (self.option, "seed", "start", "natural", "under attack", "certified")
        rows = [
            (p.name, str(p.seed), p.start, str(p.natural), str(p.under_attack), "-" if not p.certified else p.certified)
            for p in self.points
        ]
        lines = [
            f"{self.objective} along {self.option}, {self.ball}: on {self.examples}, with 95% intervals",
            text_table(header, rows),
            f"seeds: {', '.join(map(str, self.seeds))}",
            *dict.fromkeys(f"nothing is certified: {p.uncertified}" for p in self.points if p.uncertified),
            *self.differences,
        ]
        if self.interrupted:
            lines.append("interrupted: points are missing")
        return "\n".join(lines)

    @property
    def differences(self) -> list[str]:
        """One sentence per pair of neighbours, and per network trained anew beside its warm one.

        It speaks of the option only where each value has `SEEDS` seeds or more, and of "these two networks" otherwise.
        """
        if self.comparison is None:
            return []
        found: Sequence[Any] = self.comparison.methods or self.comparison.differences
        names = list(dict.fromkeys(point.name for point in self.points))
        warm = [name for name in names if not name.endswith("(scratch)")] or names
        pairs = [*pairwise(warm), *((name, f"{name} (scratch)") for name in warm if f"{name} (scratch)" in names)]
        return [self._sentence(pair, found) for pair in pairs]

    def _sentence(self, pair: tuple[str, str], found: Sequence[Any]) -> str:
        a, b = pair
        here = [d for place in PLACES for d in found if {d.a, d.b} == {a, b} and d.place == place]
        sizes = [sum(point.name == name for point in self.points) for name in pair]
        known = min(sizes) >= SEEDS
        what = f"{min(sizes)} seeds each, exact permutation test" if known else _networks(max(sizes))
        parts: list[str] = []
        better: dict[str, list[str]] = {}
        for d in here:
            p = "" if d.adjusted is None else f" (p {d.adjusted:.2g})"
            parts.append(f"{d.place} {(d.value if d.a == b else -d.value) + 0.0:+.4f}{p}")
            if d.better and (known or max(sizes) == 1):
                better.setdefault(d.better, []).append(d.place)
        said = [f"{self.option} {name} is better in {' and '.join(places)}" for name, places in better.items()]
        ending = "" if not said else f". {'' if known else 'Of the two networks '}{', '.join(said)}"
        return f"{self.option} {a} to {b}, {what}: {', '.join(parts)}{ending}"

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row per network."""
        columns: dict[str, Any] = {
            self.option: np.array([float(p.value) for p in self.points]),
            "seed": np.array([p.seed for p in self.points]),
            "start": [p.start for p in self.points],
        }
        for name in ("natural", "under_attack", "certified"):
            bounds = [getattr(p, name) for p in self.points]
            columns[name] = np.array([np.nan if b is None else b.value for b in bounds])
            columns |= {
                f"{name}.{end}": np.array([np.nan if b is None else getattr(b.interval, end) for b in bounds])
                for end in ("low", "high")
            }
        paths = {"card": [str(p.card) for p in self.points], "parent": [_text(p.parent) for p in self.points]}
        return arrow_table(columns | paths)

    def to_json(self) -> dict[str, Any]:
        """Return the front made of JSON's types."""
        names = ("option", "objective", "ball", "examples", "seeds", "differences")
        document = {name: getattr(self, name) for name in names} | {"points": self.to_arrow().to_pylist()}
        compared = None if self.comparison is None else self.comparison.to_json()
        return jsonable(document | {"comparison": compared} | ({"interrupted": True} if self.interrupted else {}))

    def plot(self) -> "Figure":
        """Draw certified accuracy, and accuracy under attack, over natural accuracy."""
        return front_figure(self.points, option=self.option, title=f"{self.objective}, {self.ball}, {self.examples}")


def _networks(seeds: int) -> str:
    return "these two networks" if seeds == 1 else f"these networks, fewer than {SEEDS} seeds each"


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
