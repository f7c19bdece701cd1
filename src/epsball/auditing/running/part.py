"""A part of an audit: the shards of one of several independent jobs."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from epsball.errors import InputError

SLURM, TORCHRUN = "slurm", "torchrun"


@dataclass(frozen=True, kw_only=True)
class Part:
    """Part `number` of `count`, from 1.

    Parameters
    ----------
    number, count
        Every `count`-th shard is done, from the one before `number` on.

    Examples
    --------
    >>> Part(number=2, count=3).of(range(7))
    [1, 4]
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise InputError(f"part {self.number} of {self.count} does not exist; parts count from 1 to {self.count}.")

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str] | None = None) -> "Part":
        """Return the part that ``K/N`` names, or that Slurm or torchrun says this process is.

        Parameters
        ----------
        text
            ``K/N``; ``slurm``: K and N of the array job; ``torchrun``: from RANK and WORLD_SIZE.
        environment
            Where they are read; None: the process's own.

        Raises
        ------
        InputError
            If it is none of them, or the process was not started so.

        Examples
        --------
        >>> Part.parse("torchrun", {"RANK": "0", "WORLD_SIZE": "8"})
        Part(number=1, count=8)
        """
        given = os.environ if environment is None else environment
        if text == TORCHRUN:
            return cls(number=_read(given, "RANK", text) + 1, count=_read(given, "WORLD_SIZE", text))
        if text == SLURM:
            task, first = _read(given, "SLURM_ARRAY_TASK_ID", text), _read(given, "SLURM_ARRAY_TASK_MIN", text)
            step = int(given.get("SLURM_ARRAY_TASK_STEP", "1"))
            return cls(number=(task - first) // step + 1, count=_read(given, "SLURM_ARRAY_TASK_COUNT", text))
        number, slash, count = text.partition("/")
        if not slash or not number.strip().isdecimal() or not count.strip().isdecimal():
            raise InputError(f"the part is '{text}'; it is K/N, as in 3/8, or {SLURM}, or {TORCHRUN}.")
        return cls(number=int(number), count=int(count))

    def of(self, numbers: Sequence[int]) -> list[int]:
        """Return the part of a list of shards.

        Raises
        ------
        InputError
            If there are fewer shards than parts, and this one has none.
        """
        mine = list(numbers[self.number - 1 :: self.count])
        if not mine:
            raise InputError(
                f"part {self} has nothing to do: the data have {len(numbers)} shards. Start at most as many parts, or "
                "make shards smaller (--shard-size)."
            )
        return mine

    @property
    def name(self) -> str:
        """What it is called in a file's name."""
        return f"-{self.number}-of-{self.count}"

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def _read(environment: Mapping[str, str], name: str, by: str) -> int:
    found = environment.get(name, "")
    if not found.isdecimal():
        raise InputError(f"{name} is {found!r}; {by} sets it where it starts a process. Give the part as K/N.")
    return int(found)
