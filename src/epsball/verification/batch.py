"""`verify_batch`: the instances of a benchmark, one after another, with results that survive being killed."""

import csv
import io
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from epsball import results
from epsball.checks import check_positive
from epsball.errors import EpsballError, InputError
from epsball.files import write_atomically
from epsball.interruption import carrying
from epsball.names import Semantics
from epsball.progress import report
from epsball.verification.ahead import Ahead
from epsball.verification.assignment import assignment_text
from epsball.verification.verify import verify
from epsball.workers import Workers, as_workers
from epsball.workers import run as run_tasks
from epsball.workers.outcome import Attempt

if TYPE_CHECKING:
    import pyarrow

_LOG = logging.getLogger(__name__)
_RESULTS = {"timed-out": "timeout"}
_COLUMNS = 6

Options = tuple[Semantics | None, int, int | None]
"""Semantics, seed and memory, as `verify` takes them."""


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One line of a list of instances.

    Parameters
    ----------
    network, query
        The files as the list has them, relative to its folder.
    timeout
        Seconds.
    """

    network: str
    query: str
    timeout: int | float


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class BatchVerification(results.Result):
    """The answers to a list of instances.

    Parameters
    ----------
    instances
        The list.
    answers
        For each, ``"sat"``, ``"unsat"``, ``"unknown"``, ``"timeout"`` or ``"error"``; None where an interruption came
        before.
    seconds
        Wall-clock seconds of each.
    out
        The file of results.
    """

    instances: tuple[Instance, ...]
    answers: tuple[str | None, ...]
    seconds: tuple[float | None, ...]
    out: str

    @property
    def counts(self) -> Mapping[str, int]:
        """How often each answer was given."""
        return Counter(answer for answer in self.answers if answer is not None)

    def __str__(self) -> str:
        decided = sum(self.counts.get(answer, 0) for answer in ("sat", "unsat"))
        known = ", ".join(f"{count} {answer}" for answer, count in sorted(self.counts.items()))
        return f"{decided} of {len(self.instances)} decided ({known or 'none run'}); results in {self.out}"

    def to_json(self) -> dict[str, object]:
        """Return everything as JSON's types."""
        return results.jsonable(
            {
                "counts": self.counts,
                "instances": self.instances,
                "answers": self.answers,
                "seconds": self.seconds,
                "out": self.out,
            }
        )

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row per instance."""
        columns = {"network": [i.network for i in self.instances], "query": [i.query for i in self.instances]}
        seconds = [float("nan") if value is None else value for value in self.seconds]
        return results.arrow_table({**columns, "answer": list(self.answers), "seconds": results.np.array(seconds)})


def verify_batch(
    instances: str | Path,
    out: str | Path,
    *,
    timeout: int | float | None = None,
    semantics: Semantics | None = None,
    seed: int = 0,
    max_memory: int | None = None,
    workers: int | Workers | None = None,
) -> BatchVerification:
    """Verify every instance of a list, and go on where an earlier call stopped.

    A line of `out` has the competition's columns: category, network, query, seconds of preparation (0), result (sat,
    unsat, unknown, timeout or error), seconds. It is on disk before the next instance begins; a line that was cut off
    is written anew. Witnesses are files in the folder beside it, ``OUT.witnesses/NUMBER.txt``.

    Parameters
    ----------
    instances
        A file of lines ``NETWORK,QUERY,TIMEOUT``, the files relative to its folder; where one is not there but its
        gzipped copy NAME.gz is, that is read.
    out
        The file of results.
    timeout
        Seconds for each instance in place of the list's.
    semantics, seed, max_memory
        As in `verify`.
    workers
        Processes that share the instances; None: this process takes one after another. Lines stand in the list's
        order; answers that come before their turn wait in ``OUT.ahead``.

    Raises
    ------
    InputError
        If the list is malformed, or `out` holds results of other instances.
    """
    if timeout is not None:
        check_positive("timeout", timeout)
    instances, out = Path(instances).expanduser(), Path(out).expanduser()
    listed = read_instances(instances)
    category = instances.stem.removesuffix("instances").rstrip("_") or instances.resolve().parent.name
    rows = _kept(out, category, listed)

    def found() -> BatchVerification:
        answers = [row[4] for row in rows] + [None] * (len(listed) - len(rows))
        seconds = [float(row[5]) for row in rows] + [None] * (len(listed) - len(rows))
        return BatchVerification(instances=listed, answers=tuple(answers), seconds=tuple(seconds), out=str(out))

    options: Options = (semantics, seed, max_memory)
    sharing = as_workers(workers)
    work = _Work(folder=instances.parent, listed=listed, timeout=timeout, out=out, options=options)
    with carrying(found):
        ahead = Ahead(out, len(rows))
        for row in ahead.next():
            rows.append(_line(out, category, listed[len(rows)], row))
        waiting = [number for number in range(len(rows), len(listed)) if number not in ahead.known]
        for number, answer, seconds in _answers(work, waiting, sharing, len(listed)):
            ahead.put(number, answer, seconds)
            for row in ahead.next():
                rows.append(_line(out, category, listed[len(rows)], row))
        ahead.remove()
    return found()


def _line(out: Path, category: str, one: Instance, answered: tuple[str, str]) -> list[str]:
    """Write the line of an answer; return it."""
    row = [category, one.network, one.query, "0", *answered]
    _append(out, row)
    return row


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What answers the instances of a list, by their numbers."""

    folder: Path
    listed: tuple[Instance, ...]
    timeout: int | float | None
    out: Path
    options: Options

    def __call__(self, worker: int) -> Callable[[Attempt], tuple[str, float]]:
        return lambda attempt: self.answer(attempt.task)

    def answer(self, number: int) -> tuple[str, float]:
        """Return the answer to an instance and its seconds."""
        one, started = self.listed[number], time.monotonic()
        limit = self.timeout or one.timeout
        answer = _answer(self.folder, one, limit, self.out, number, self.options)
        return answer, time.monotonic() - started


def _answers(
    work: _Work, waiting: Sequence[int], sharing: Workers | None, total: int
) -> Iterator[tuple[int, str, float]]:
    """Yield number, answer and seconds of the instances, as they are answered."""
    if sharing is not None:
        outcomes = run_tasks(
            work,
            waiting,
            sharing,
            what="instances verified",
            named=lambda number: f"instance {number + 1}",
            before=total - len(waiting),
        )
        for outcome in outcomes:
            answer, seconds = ("error", 0.0) if outcome.lost else outcome.result
            yield outcome.task, answer, seconds
        return
    for number in waiting:
        report("instances verified", number, total)
        yield number, *work.answer(number)
    report("instances verified", total, total)


def read_instances(path: Path) -> tuple[Instance, ...]:
    """Return the instances of a list.

    Raises
    ------
    InputError
        If it cannot be read, or a line is not NETWORK,QUERY,TIMEOUT.
    """
    try:
        lines = list(csv.reader(io.StringIO(path.read_text())))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    found = []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            network, query, seconds = (field.strip() for field in line)
            limit = float(seconds)
            check_positive("the time limit", limit)
        except ValueError as error:
            raise InputError(
                f"{path}, line {number}: '{','.join(line)[:80]}' is not NETWORK,QUERY,SECONDS, as in "
                "net.onnx,property.vnnlib,116. Correct it."
            ) from error
        found.append(Instance(network=network, query=query, timeout=limit))
    if not found:
        raise InputError(f"{path} lists no instances; a line is NETWORK,QUERY,SECONDS.")
    return tuple(found)


def _answer(folder: Path, one: Instance, limit: float, out: Path, number: int, options: Options) -> str:
    """Return the answer to one instance, its witness written; an error is an answer too."""
    semantics, seed, max_memory = options
    network, query = folder / one.network, folder / one.query
    try:
        found = verify(network, query, timeout=limit, semantics=semantics, seed=seed, max_memory=max_memory)
    except EpsballError as error:
        _LOG.warning("instance %d: %s", number + 1, error)
        return "error"
    if found.witness is not None and found.asked is not None:
        text = assignment_text(found.asked, found.witness)
        write_atomically(out.with_suffix(".witnesses") / f"{number + 1:04d}.txt", f"sat\n{text}\n".encode())
    return _RESULTS.get(found.answer, found.answer)


def _kept(out: Path, category: str, listed: Sequence[Instance]) -> list[list[str]]:
    """Return the rows that are there already; what follows the last whole line is cut off."""
    try:
        content = out.read_bytes() if out.exists() else b""
    except OSError as error:
        raise InputError(f"{out} cannot be read: {error.strerror}.") from error
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        write_atomically(out, whole)
    rows = [row for row in csv.reader(io.StringIO(whole.decode(errors="replace"))) if row]
    expected = [[category, one.network, one.query] for one in listed]
    for number, row in enumerate(rows):
        if len(row) != _COLUMNS or number >= len(listed) or row[:3] != expected[number]:
            raise InputError(
                f"{out}, line {number + 1}, is not the result of instance {number + 1} of this list. Name another file "
                "for --out, or remove it."
            )
    return rows


def _append(out: Path, row: Sequence[str]) -> None:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(row)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("a") as file:
            file.write(line.getvalue())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror}. Free space or choose another folder.") from error
