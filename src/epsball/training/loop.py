"""The loop over steps and epochs: training, measuring, logging, checkpoints."""

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from epsball import progress
from epsball.models.card import Card
from epsball.results import jsonable
from epsball.training.engine.step import Stepper
from epsball.training.evaluation.after_epoch import EpochEvaluation
from epsball.training.evaluation.epoch import Epoch
from epsball.training.records.artifacts import save
from epsball.training.records.checkpoint import (
    moved,
    remove_temporary_files,
    restore_stored_generators,
    stored_generators,
    write_checkpoint,
)
from epsball.training.records.log import Log

_LOG = logging.getLogger(__name__)

DRAIN = 50
"""Steps between two readings of the losses."""


@dataclass(kw_only=True)
class Loop:
    """A run from its first step, or from a checkpoint, to its last.

    Parameters
    ----------
    stepper, evaluation
        What is trained, and what is measured after each epoch.
    card, configuration
        Of the run; `configuration` is stored in every checkpoint.
    folder
        Where everything is written, or None.
    save_every
        Steps between two checkpoints; the end of an epoch has one too.
    tensorboard
        Whether the log is also written for TensorBoard.
    """

    stepper: Stepper
    evaluation: EpochEvaluation
    card: Card
    configuration: dict[str, Any]
    folder: Path | None
    save_every: int
    tensorboard: bool
    history: list[Epoch] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    examples: int = 0
    seconds: float = 0.0

    def go(self, kept: dict[str, Any] | None) -> None:
        """Train to the end, from a checkpoint if there is one."""
        if kept is not None:
            self._load(kept)
            done, total = self.stepper.step, self.stepper.batches.total
            _LOG.info("resumed: %d of %d steps were done before (%s)", done, total, self.folder)
        batches, writes = self.stepper.batches, self.stepper.task.processes.first
        if writes and self.folder is not None:
            remove_temporary_files(self.folder)
        log = Log(self.folder if writes else None, self.stepper.step, self.tensorboard)
        self.stepper.begin(fresh=kept is None)
        if kept is None and self.folder is not None:
            self._save(self.folder)  # so that a run can be resumed whenever it is killed
        try:
            begun = time.perf_counter()
            while self.stepper.step < batches.total:
                self.stepper.advance()
                begun = self._after_step(log, begun)
        finally:
            log.close()
        self.stepper.average.settle()

    def _after_step(self, log: Log, begun: float) -> float:
        """Log, measure and save where this step calls for it; return the time from which the next step counts."""
        batches, recipe = self.stepper.batches, self.stepper.task.recipe
        epoch, number = divmod(self.stepper.step, batches.per_epoch)
        ended = number == 0
        saves = self.folder is not None and (ended or self.stepper.step % self.save_every == 0)
        drains = ended or saves or number % DRAIN == 0
        if drains:
            self._drain(log, begun)
        if ended or saves:
            self.stepper.require_finite()
        what = f"epoch {epoch if ended else epoch + 1} of {recipe.epochs}"
        progress.report(what, number or batches.per_epoch, batches.per_epoch)
        if ended:
            self._end_epoch(epoch, log)
        if self.folder is not None and saves:
            self._save(self.folder)
        return time.perf_counter() if drains else begun

    def _drain(self, log: Log, begun: float) -> None:
        """Read the losses of the steps since the last call; stop if one is not finite."""
        examples, sums = self.stepper.drain()
        seconds = time.perf_counter() - begun
        self.seconds += seconds
        if examples == 0:
            return
        self.examples += examples
        self.sums = {name: self.sums.get(name, 0.0) + value for name, value in sums.items()}
        means = {name: value / examples for name, value in sums.items()}
        log.write(self.stepper.step, {"lr": self.stepper.lr, **means, "examples a second": examples / seconds})

    def _end_epoch(self, epochs: int, log: Log) -> None:
        """Measure the weights (their average, if one is kept) and write them."""
        stepper, task = self.stepper, self.stepper.task
        stepper.average.after_epoch(epochs)
        task.processes.average_buffers(task.classifier.network)
        parts = {name: value / self.examples for name, value in self.sums.items()}
        loss = parts.pop("loss")
        with stepper.average.in_place():
            epoch = self.evaluation(
                task,
                self.seconds + sum(epoch.seconds for epoch in self.history),
                epoch=epochs,
                loss=loss,
                parts=parts,
                lr=stepper.lr,
                seconds=self.seconds,
            )
            self.history.append(epoch)
            shown = ("loss", "natural", "under_attack", "seconds")
            _LOG.debug("epoch %d: %s", epochs, ", ".join(f"{name} {getattr(epoch, name)}" for name in shown))
            if self.folder is not None and task.processes.first:
                save(self.card, task.classifier.module, self.history, self.folder)
        log.write(stepper.step, _flat(epoch))
        self.sums, self.examples, self.seconds = {}, 0, 0.0

    def _save(self, folder: Path) -> None:
        """Write a checkpoint, with the generators and the objective's state of every process."""
        processes = self.stepper.task.processes
        each = processes.gather({"generators": stored_generators(), "objective": moved(self.stepper.state, "cpu")})
        if processes.first:
            state = {
                "run": self.stepper.save(),
                "each": each,
                "history": [jsonable(epoch) for epoch in self.history],
                "epoch": [self.sums, self.examples, self.seconds],
                "configuration": self.configuration,
            }
            write_checkpoint(folder, state)

    def _load(self, kept: dict[str, Any]) -> None:
        stepper = self.stepper
        stepper.load(kept["run"])
        mine = kept["each"][stepper.task.processes.index]
        stepper.state.update(moved(mine["objective"], stepper.task.classifier.device))
        restore_stored_generators(mine["generators"])
        self.history = [Epoch.from_json(epoch) for epoch in kept["history"]]
        self.sums, self.examples, self.seconds = kept["epoch"]


def _flat(epoch: Epoch) -> dict[str, Any]:
    """Return an epoch's numbers and texts, intervals as two numbers each."""
    document = jsonable(epoch)
    intervals = document.pop("quantities") or {}
    ends = {f"{name}.{end}": value for name, both in intervals.items() for end, value in both.items()}
    return {**document.pop("parts"), **{f"epoch.{name}": value for name, value in {**document, **ends}.items()}}
