"""`Laboratory`: what an item measures with: data, networks trained once, and the size of the run."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from jaxtyping import Float, Int64
from torch import Tensor

from epsball import data as datasets
from epsball import models
from epsball.ball import Ball
from epsball.chapter.claim import Size
from epsball.chapter.networks import BALLS, FINE_TUNED, base, keyed
from epsball.chapter.zoo.bases import DataName
from epsball.chapter.zoo.places import data_text, is_trained, trained
from epsball.chapter.zoo.training import train_base
from epsball.classifier import Classifier
from epsball.data import as_pixels
from epsball.files import exclusive, write_json

T = TypeVar("T")

NETWORKS = "networks"
"""The folder of the networks, beside those of the items."""

COST = "cost.json"
"""In the folder of a network: the CPU seconds of its training, None where it went on after a kill."""

_APART = 0.2
"""Seconds between two looks whether another process has trained a network."""


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
    trainings
        CPU seconds of each network that was trained here.
    earlier
        CPU seconds of parts of items that an earlier run measured.
    """

    size: Size
    out: Path
    folders: Mapping[DataName, Path] = field(default_factory=dict)
    seed: int = 0
    trainings: list[float] = field(default_factory=list)
    earlier: list[float] = field(default_factory=list)

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
        """The data set that most items are about, by size: the digits, MNIST, or CIFAR-10."""
        return self.pick(fast="digits", default="mnist", full="cifar10")

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
        for other in FINE_TUNED.get(defence, ()):
            self.network(other, data)
        one, place = keyed(base(defence, data or self.subject, self.size)), self.out / NETWORKS

        def train() -> None:
            if not is_trained(one, place):
                train_base(one, self.folders, place, self.seed)

        self.trained_once(one.name, train)
        return models.load(trained(one, place).model).classifier()

    def trained_once(self, name: str, train: Callable[[], T]) -> T:
        """Return what `train` makes of the network's folder, while no other process is at it, and note what it cost.

        Parameters
        ----------
        name
            The folder, in that of the networks.
        train
            Trains the network, or reads it if it is there.
        """
        place = self.out / NETWORKS
        with _alone(place / f"{name}.lock"):
            fresh, begun = not (place / name).exists(), time.process_time()
            made = train()
            if not (place / name / COST).exists():
                seconds = time.process_time() - begun
                self.trainings.append(seconds)
                write_json(place / name / COST, {"cpu_seconds": round(seconds, 1) if fresh else None})
        return made

    def spent(self) -> float:
        """Return CPU seconds without the training of networks, and with what earlier runs measured."""
        return time.process_time() - sum(self.trainings) + sum(self.earlier)

    def costs(self) -> dict[str, float | None]:
        """Return what is noted of each training in the folder of the run, by the network's name."""
        files = sorted((self.out / NETWORKS).glob(f"*/{COST}"))
        return {file.parent.name: json.loads(file.read_text(encoding="utf-8"))["cpu_seconds"] for file in files}

    def ball(self, norm: str = "linf", data: DataName | None = None) -> Ball:
        """Return the ball of a norm that networks on a data set are trained and measured for."""
        return Ball.parse(BALLS[data or self.subject][norm])


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until no other process is inside the block with this file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        while not exclusive(file):
            time.sleep(_APART)
        yield
