"""TensorBoard: numbers and words of a run."""

from pathlib import Path

from epsball.auditing.result import Audit
from epsball.auditing.trackers.logged import logged
from epsball.errors import MissingExtra


def log_to_tensorboard(run: str | Path | Audit, log: str | Path, *, step: int = 0) -> None:
    """Write a finished run as events of TensorBoard: numbers as scalars, words as texts.

    Parameters
    ----------
    run
        The folder of an audit, or the audit, made with a folder.
    log
        Folder of the events.
    step
        The step of the numbers, as in one per checkpoint.

    Raises
    ------
    MissingExtra
        If TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtra("tensorboard", "tensorboard", "log_to_tensorboard") from error
    what = logged(run)
    with SummaryWriter(str(log)) as writer:
        for name, number in what.numbers.items():
            writer.add_scalar(name, number, step)
        for name, text in what.words.items():
            writer.add_text(name, text, step)
