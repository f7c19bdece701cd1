"""`reproduce`: run items of the chapter, and what was found of them."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from epsball.chapter.claim import Decision, Size
from epsball.chapter.item import Item
from epsball.chapter.laboratory import Laboratory
from epsball.chapter.records import FIGURE
from epsball.chapter.registry import find
from epsball.chapter.running import run_items
from epsball.chapter.zoo.bases import DataName
from epsball.files import write_atomically
from epsball.interruption import carrying
from epsball.results import Result, text_table
from epsball.workers import Workers, as_workers

if TYPE_CHECKING:
    import pyarrow

PAGE = "README.md"
FASHION = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package puts it."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Reproduction(Result):
    """What was found of some items.

    Parameters
    ----------
    size
        Of the run.
    found
        Item by item, the decision on each of its claims.
    failed
        Items that ended with an error, and the error.
    trainings
        CPU seconds of the training of each network in the folder of the run, by its name; None where it is not known.
    """

    size: Size
    found: Mapping[Item, Mapping[str, Decision]]
    failed: Mapping[str, str]
    trainings: Mapping[str, float | None] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return verdict and sentence of each claim, how often each verdict was given, and what trainings cost."""
        rows = [(row["item"], row["claim"], row["verdict"], row["finding"]) for row in self._rows()]
        text = text_table(("item", "claim", "verdict", "what was measured"), rows)
        counts: dict[str, int] = {}
        for _, _, verdict, _ in rows:
            counts[verdict] = counts.get(verdict, 0) + 1
        lines = [text, "", f"size {self.size}: " + ", ".join(f"{count} {name}" for name, count in counts.items())]
        lines += [trained] if (trained := told(self.trainings)) else []
        return "\n".join([*lines, *(f"failed: {name}: {error}" for name, error in self.failed.items())])

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row per claim."""
        import pyarrow

        return pyarrow.Table.from_pylist(self._rows())

    def to_json(self) -> Mapping[str, object]:
        """Return findings, failures and what trainings cost."""
        return {
            "size": self.size,
            "findings": self._rows(),
            "failed": dict(self.failed),
            "trainings": dict(self.trainings),
        }

    def _rows(self) -> list[dict[str, str]]:
        return [
            {
                "item": item.name,
                "section": item.section,
                "claim": claim.name,
                "verdict": decisions[claim.name].verdict,
                "finding": decisions[claim.name].sentence,
                "chapter": claim.says,
            }
            for item, decisions in self.found.items()
            for claim in item.claims
        ]


def reproduce(
    names: Sequence[str] = (),
    *,
    out: str | Path,
    size: Size = "fast",
    folders: Mapping[DataName, Path] | None = None,
    seed: int = 0,
    workers: int | Workers | None = None,
) -> Reproduction:
    """Run items of the chapter; what was measured already in the folder is decided and drawn anew, not measured again.

    Parameters
    ----------
    names
        Items; none means all.
    out
        One folder for each item is written there, with its tables (CSV, JSON), figure (PNG, SVG) and findings, and
        ``README.md``, which shows them together.
    size
        ``"fast"`` takes minutes and states no more than a pattern; see `epsball.chapter.claim.Verdict`.
    folders
        Folders of MNIST, Fashion-MNIST and CIFAR-10; the digits need none.
    seed
        Of the trainings and of every search.
    workers
        Processes that share the items, each with one thread; None works in this one, with one thread too. What is found
        is the same for any number, but for times that an item measures.

    Returns
    -------
    Reproduction
        What was found; an item that fails does not stop the others.

    Raises
    ------
    InputError
        If there is no such item, or the folder cannot be written.
    KeyboardInterrupt
        With the items done as its `partial`.
    """
    items = find(names)
    known: dict[DataName, Path] = {**({"fashion": FASHION} if FASHION.is_dir() else {}), **(folders or {})}
    laboratory = Laboratory(size=size, out=Path(out), folders=known, seed=seed)
    found: dict[Item, Mapping[str, Decision]] = {}
    failed: dict[str, str] = {}

    def so_far() -> Reproduction:
        done = {item: found[item] for item in items if item in found}
        return Reproduction(size=size, found=done, failed=failed, trainings=laboratory.costs())

    with carrying(so_far):
        for item, result in run_items(items, laboratory, as_workers(workers)):
            if isinstance(result, str):
                failed[item.name] = result
            else:
                found[item] = result
            write_page(laboratory.out, so_far().found)
    return so_far()


def told(trainings: Mapping[str, float | None]) -> str:
    """Return how many networks were trained and what that cost; nothing if there is none."""
    if not trainings:
        return ""
    known = {name: seconds for name, seconds in trainings.items() if seconds is not None}
    parts = [f"{len(trainings)} network{'s' if len(trainings) > 1 else ''} trained"]
    if known:
        longest = max(known, key=lambda name: known[name])
        parts[0] += f" in {sum(known.values()):.0f} CPU-s"
        parts.append(f"the longest training, {longest}, took {known[longest]:.1f} CPU-s")
    if len(known) < len(trainings):
        parts.append(f"without the time of {len(trainings) - len(known)}, which went on after a kill")
    return "; ".join(parts)


def write_page(out: Path, found: Mapping[Item, Mapping[str, Decision]]) -> None:
    """Write the page that shows the items of a run together, in Markdown."""
    lines = ["# The chapter, made again", ""]
    for item, decisions in found.items():
        lines += [f"## {item.section} {item.title}", "", f"![{item.title}]({item.name}/{FIGURE}.png)", ""]
        lines += _claims(item, decisions)
    write_atomically(out / PAGE, (os.linesep.join(lines) + os.linesep).encode())


def _claims(item: Item, decisions: Mapping[str, Decision]) -> Iterable[str]:
    for claim in item.claims:
        decision = decisions[claim.name]
        yield f"- *{claim.says}* **{decision.verdict}**: {decision.sentence}"
        yield from (f"  - {head}: {text}" for head, text in (("source", claim.source), ("truth", claim.truth)) if text)
    yield ""
