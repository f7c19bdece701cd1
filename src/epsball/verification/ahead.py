"""Answers of a batch that came before their turn: they wait in a file, so that none is lost by a kill."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

from epsball.errors import InputError

_FIELDS = 3


class Ahead:
    """Answers by the number of their instance, in ``OUT.ahead`` until the instances before them are answered.

    Parameters
    ----------
    out
        The file of results.
    first
        The first instance that has no line there.

    Attributes
    ----------
    known
        Answer and seconds, as texts, of the instances that wait.
    """

    def __init__(self, out: Path, first: int) -> None:
        self._path, self._first = out.with_name(f"{out.name}.ahead"), first
        self.known: dict[int, tuple[str, str]] = {}
        if self._path.exists():
            self._read()

    def _read(self) -> None:
        try:
            content = self._path.read_text(errors="replace")
        except OSError as error:
            raise InputError(f"{self._path} cannot be read: {error.strerror}.") from error
        whole = content[: content.rfind("\n") + 1]
        for row in csv.reader(whole.splitlines()):
            if len(row) == _FIELDS and row[0].isdecimal() and int(row[0]) >= self._first:
                self.known[int(row[0])] = (row[1], row[2])

    def put(self, number: int, answer: str, seconds: float) -> None:
        """Keep an answer; where its turn has not come, in the file."""
        self.known[number] = (answer, f"{seconds:.3f}")
        if number == self._first:
            return
        try:
            with self._path.open("a") as file:
                file.write(f"\n{number},{answer},{seconds:.3f}\n")  # A line that was cut off before ends here.
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            reason = f"cannot write {self._path}: {error.strerror}. Free space or choose another folder."
            raise InputError(reason) from error

    def next(self) -> Iterator[tuple[str, str]]:
        """Yield the answers whose turn has come."""
        while self._first in self.known:
            yield self.known.pop(self._first)
            self._first += 1

    def remove(self) -> None:
        """Remove the file: all answers have their lines."""
        self._path.unlink(missing_ok=True)
