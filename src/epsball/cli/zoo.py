"""``epsball zoo``."""

from pathlib import Path

from cyclopts import App

from epsball.chapter.zoo import bases, training
from epsball.chapter.zoo.bases import DataName
from epsball.cli.common import Common, Output
from epsball.cli.progress import showing_progress

_COMMON = Common()

zoo = App(name="zoo", help="Networks behind published and home-made defences.", help_format="plaintext")


@zoo.command(name="train")
def train_command(
    *names: str, out: Path, mnist: Path | None = None, cifar10: Path | None = None, common: Common = _COMMON
) -> Output:
    """Train networks of the zoo, all of them by default.

    OUT/NAME/card.json names the network in every other command; OUT/INDEX.txt lists those that are done. The same
    command goes on after a kill, and trains nothing twice.

    Parameters
    ----------
    names
        Networks to train; `epsball zoo list` prints them.
    out
        Folder of the networks.
    mnist, cifar10
        Folders of the data sets' files.
    """
    given: dict[DataName, Path | None] = {"mnist": mnist, "cifar10": cifar10}
    folders = {name: folder for name, folder in given.items() if folder is not None}
    with showing_progress():
        training.train_bases(training.find(names), folders, out, common.seed)
    return Output(training.index(out, folders).rstrip("\n"))


@zoo.command(name="list")
def list_command() -> Output:
    """Print the networks that are trained."""
    return Output("\n".join(f"{base.name:<22}{base.objective:<42}{base.ball:<12}{base.shows}" for base in bases.BASES))
