"""Weights & Biases: numbers and words of a run."""

from pathlib import Path

from epsball.auditing.result import Audit
from epsball.auditing.trackers.logged import logged
from epsball.errors import InputError, MissingExtra


def log_to_wandb(run: str | Path | Audit, *, step: int | None = None) -> None:
    """Log a finished run into the active run of Weights & Biases: numbers to its history, words to its configuration.

    Parameters
    ----------
    run
        The folder of an audit, or the audit, made with a folder.
    step
        The step of the numbers, as in one per checkpoint.

    Raises
    ------
    InputError
        If no run is active.
    MissingExtra
        If wandb is not installed.
    """
    try:
        import wandb
    except ImportError as error:
        raise MissingExtra("wandb", "wandb", "log_to_wandb") from error
    if wandb.run is None:
        raise InputError("no run of Weights & Biases is active; call wandb.init() first.")
    what = logged(run)
    wandb.run.log(what.numbers, step=step)
    wandb.run.config.update(what.words, allow_val_change=True)
