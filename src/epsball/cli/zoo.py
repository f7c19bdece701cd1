"""``epsball zoo``."""

import json
from pathlib import Path

from cyclopts import App

from epsball.cli.common import Common, Output

_COMMON = Common()

zoo = App(name="zoo", help="Networks behind published and home-made defences.", help_format="plaintext")


@zoo.command(name="train")
def train_command(
    *names: str, out: Path, mnist: Path | None = None, cifar10: Path | None = None, common: Common = _COMMON
) -> Output:
    """Train networks of the zoo, all of them by default.

    OUT/NAME/card.json names the network in every other command, OUT/zoo.py:NAME a defended one; OUT/INDEX.txt lists
    what is done. The same command goes on after a kill, and trains nothing twice.

    Parameters
    ----------
    names
        Networks to train; epsball zoo list prints them.
    out
        Folder of the networks.
    mnist
        Folder of MNIST's files, as of idx:FOLDER.
    cifar10
        Folder of CIFAR-10's files, as of cifar10:FOLDER.
    """
    from epsball.chapter.zoo import training
    from epsball.chapter.zoo.bases import DataName

    given: dict[DataName, Path | None] = {"mnist": mnist, "cifar10": cifar10}
    folders: dict[DataName, Path] = {name: folder for name, folder in given.items() if folder is not None}
    training.train_all(training.find(names), folders, out, common.seed)
    rows = training.rows(out, folders)
    return Output(json.dumps(rows, indent=2) if common.json else training.tabbed(rows).rstrip("\n"))


@zoo.command(name="list")
def list_command(*, common: Common = _COMMON) -> Output:
    """Print the networks that are trained, and the defences built on them."""
    from epsball.chapter.zoo.bases import BASES
    from epsball.chapter.zoo.parts import PARTS
    from epsball.masking.zoo import DEFENCES
    from epsball.results import text_table

    networks = [(base.name, base.objective, base.ball, base.shows) for base in BASES]
    networks += [(part.name, "", "", part.shows) for part in PARTS]
    defences = [(d.name, d.base, d.ball, d.does) for d in DEFENCES.values()]
    headers = ("network", "objective", "ball", "what"), ("defence", "network", "ball", "what it does")
    if common.json:
        named = [
            [dict(zip(header, row, strict=True)) for row in rows]
            for header, rows in zip(headers, (networks, defences), strict=True)
        ]
        return Output(json.dumps({"networks": named[0], "defences": named[1]}, indent=2))
    return Output("\n\n".join([text_table(headers[0], networks), text_table(headers[1], defences)]))
