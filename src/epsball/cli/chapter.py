"""``epsball chapter``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

from epsball.cli.common import Common, Output
from epsball.names import SizeName

if TYPE_CHECKING:
    from epsball.chapter.zoo.bases import DataName

_COMMON = Common()

chapter = App(
    name="chapter",
    help="Make figures, tables and claims of the chapter again, from real data.",
    help_format="plaintext",
)


@chapter.command(name="list")
def list_items(*, common: Common = _COMMON) -> Output:
    """Print the items: what the chapter says, and how each claim is decided."""
    from epsball.chapter.registry import ITEMS
    from epsball.results import text_table

    if common.json:
        rows = [
            {
                "item": item.name,
                "section": item.section,
                "claim": claim.name,
                "says": claim.says,
                "decided": claim.criterion,
            }
            for item in ITEMS
            for claim in item.claims
        ]
        return Output(json.dumps(rows, indent=2))
    return Output(text_table(("item", "section", "claims", "what"), [_line(item) for item in ITEMS]))


def _line(item) -> tuple[str, str, int, str]:
    return item.name, item.section, len(item.claims), item.title


@chapter.command(name="run")
def run_items(
    *items: str,
    size: SizeName = "fast",
    out: Path = Path("runs/chapter"),
    mnist: Path | None = None,
    fashion: Path | None = None,
    cifar10: Path | None = None,
    workers: int | None = None,
    common: Common = _COMMON,
) -> Output:
    """Run items of the chapter and print what was found of each claim.

    OUT/ITEM holds the numbers (CSV, JSON), the figure (PNG, SVG) and the findings, OUT/README.md shows all together.
    The same command goes on after a kill; what is measured is not measured again.

    Parameters
    ----------
    items
        Items, or all; epsball chapter list prints them.
    size
        fast takes minutes and can say no more than pattern; default takes hours, full what the papers took.
    out
        Folder of the results; one size per folder.
    mnist
        Folder of MNIST's files, as of idx:FOLDER.
    fashion
        Folder of Fashion-MNIST's files; that of Debian's package is found by itself.
    cifar10
        Folder of CIFAR-10's files, as of cifar10:FOLDER.
    workers
        Processes that share the items; what is found is the same for any number, but for times that an item measures.
    """
    from epsball.chapter.reproduction import reproduce

    given: dict[DataName, Path | None] = {"mnist": mnist, "fashion": fashion, "cifar10": cifar10}
    folders: dict[DataName, Path] = {name: folder for name, folder in given.items() if folder is not None}
    names = () if items in ((), ("all",)) else items
    found = reproduce(names, out=out, size=size, folders=folders, seed=common.seed, workers=workers)
    text = json.dumps(found.to_json(), indent=2) if common.json else f"{found}\nwritten: {out}/README.md"
    return Output(text, 1 if found.failed else 0)
