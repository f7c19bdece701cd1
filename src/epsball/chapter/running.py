"""Items one after another, or on workers."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from epsball import progress
from epsball.chapter.claim import Decision
from epsball.chapter.item import Item
from epsball.chapter.laboratory import Laboratory
from epsball.chapter.records import kept_tables, write_figure, write_findings, write_tables
from epsball.chapter.registry import find
from epsball.workers import Workers, run
from epsball.workers.outcome import Attempt
from epsball.workers.threads import threads

_LOG = logging.getLogger(__name__)

Found = Mapping[str, Decision] | str
"""Decisions by claim, or with which error an item ended."""

WHAT = "items of the chapter"


def run_item(item: Item, laboratory: Laboratory) -> Mapping[str, Decision]:
    """Measure an item unless its tables are there, decide its claims, draw it, and write all of it.

    Its CPU seconds are those without the training of networks.
    """
    tables = kept_tables(item, laboratory)
    if tables is None:
        before = laboratory.spent()
        measured = item.measure(laboratory)
        tables = write_tables(item, laboratory, measured, laboratory.spent() - before)
    decisions = {claim.name: claim.decide(tables).at(laboratory.size) for claim in item.claims}
    write_findings(item, laboratory, decisions)
    write_figure(item, laboratory, item.draw(tables))
    return decisions


def run_items(items: Sequence[Item], laboratory: Laboratory, workers: Workers | None) -> Iterator[tuple[Item, Found]]:
    """Yield what is found of each item, as it gets done; one that fails does not stop the others.

    Here each computes with one thread, as a worker does by default: so what is found is the same for any number.
    """
    if workers is not None:
        yield from _on_workers(items, laboratory, workers)
        return
    for number, item in enumerate(items):
        progress.report(WHAT, number, len(items))
        with threads(1):
            found = _found(item, laboratory)
        yield item, found
    progress.report(WHAT, len(items), len(items))


def _found(item: Item, laboratory: Laboratory) -> Found:
    try:
        return run_item(item, laboratory)
    except Exception as error:  # the others go on
        _LOG.exception("%s failed", item.name)
        return _said(error)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _on_workers(items: Sequence[Item], laboratory: Laboratory, workers: Workers) -> Iterator[tuple[Item, Found]]:
    by_name = {item.name: item for item in items}
    # What takes the most networks takes longest; last, it would leave the other workers idle.
    order = sorted(by_name, key=lambda name: -len(by_name[name].networks))
    with closing(run(_Work(laboratory), order, workers, what=WHAT)) as outcomes:
        for outcome in outcomes:
            yield by_name[outcome.task], outcome.result if outcome.lost is None else outcome.lost


@dataclass(frozen=True)
class _Work:
    """What a worker does with an item's name."""

    laboratory: Laboratory

    def __call__(self, number: int) -> Callable[[Attempt], Found]:
        """Return what runs an item."""
        return self._do

    def _do(self, attempt: Attempt) -> Found:
        (item,) = find([attempt.task])
        return _found(item, self.laboratory)
