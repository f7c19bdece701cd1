"""`Laboratory`: what an item measures with: data, networks trained once, and the size of the run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from jaxtyping import Float, Int64
from torch import Tensor

from epsball import data as datasets
from epsball import models
from epsball.ball import Ball
from epsball.chapter.claim import Size
from epsball.chapter.networks import BALLS, base, keyed
from epsball.chapter.zoo.bases import Base, DataName
from epsball.chapter.zoo.places import data_text, is_trained, trained
from epsball.chapter.zoo.training import train_base
from epsball.classifier import Classifier
from epsball.data import as_pixels

T = TypeVar("T")

NETWORKS = "networks"
"""The folder of the networks, beside those of the items."""


@dataclass(frozen=True, kw_only=True)
class Laboratory:
    """What an item measures with.

    Parameters
    ----------
    size
        Of the run.
    out
        Folder of the run; networks lie in a folder of their own there, one for each way of training.
    folders
        Folders of the data sets; the digits need none.
    seed
        Of the trainings and of every search.
    """

    size: Size
    out: Path
    folders: Mapping[DataName, Path] = field(default_factory=dict)
    seed: int = 0

    def pick(self, *, fast: T, default: T, full: T | None = None) -> T:
        """Return what is meant for this size; without one of its own the largest takes that of the default."""
        if self.size == "full" and full is not None:
            return full
        return fast if self.size == "fast" else default

    def has(self, name: DataName) -> bool:
        """Return whether a data set is at hand."""
        return name == "digits" or name in self.folders

    def examples(
        self, name: DataName, split: str = "test", first: int | None = None
    ) -> tuple[Float[Tensor, "n c h w"], Int64[Tensor, " n"]]:
        """Return the first examples of a data set, as many as there are at most, pixels in [0, 1].

        Raises
        ------
        InputError
            If its folder is not given.
        """
        x, y = datasets.load(f"{data_text(name, self.folders)},split={split}")[:first]
        return as_pixels(x), y

    @property
    def subject(self) -> DataName:
        """The data set that most items are about: the digits, MNIST, or CIFAR-10, by size, if it is at hand."""
        wanted: DataName = self.pick(fast="digits", default="mnist", full="cifar10")
        return wanted if self.has(wanted) else "digits"

    def network(self, defence: str, data: DataName | None = None) -> Classifier:
        """Return a network of `epsball.chapter.networks`, trained now if it is not there.

        An interrupted training goes on.

        Parameters
        ----------
        defence
            Its name there.
        data
            What it is trained on; the subject of the run if it is not given.

        Raises
        ------
        InputError
            If there is no such network, or the folder of its data set is not given.
        """
        return self.trained(base(defence, data or self.subject, self.size))

    def ball(self, norm: str = "linf", data: DataName | None = None) -> Ball:
        """Return the ball of a norm that networks on a data set are trained and measured for."""
        return Ball.parse(BALLS[data or self.subject][norm])

    def trained(self, one: Base) -> Classifier:
        """Return the classifier that is trained as `one` says."""
        place, named = self.out / NETWORKS, keyed(one)
        if not is_trained(named, place):
            train_base(named, self.folders, place, self.seed)
        return models.load(trained(named, place).model).classifier()
