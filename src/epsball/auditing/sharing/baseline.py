"""The run that a new network is measured against: of the same data, within the same ball."""

from pathlib import Path

from epsball.auditing.sharing.source import Source
from epsball.ball import Ball
from epsball.data import Dataset
from epsball.errors import InputError


def baseline_of(path: Path, dataset: Dataset, ball: Ball) -> Source:
    """Read a baseline; in a folder of runs that within the same ball.

    Raises
    ------
    InputError
        If it holds no finished run, or one of other data or within another ball.
    """
    within = path / folder_name(ball)
    source = Source.read(within if not (path / "run.json").exists() and within.is_dir() else path)
    data = dataset.fingerprint()
    if source.data != data:
        raise InputError(
            f"the baseline {path} is of other data ({source.data}, not {data}); give a run on the same examples."
        )
    if source.ball != ball:
        raise InputError(f"the baseline {path} is within {source.ball}, not {ball}; give one within that ball.")
    return source


def folder_name(ball: Ball) -> str:
    """Return the name of a ball's folder in a folder of runs.

    Examples
    --------
    >>> folder_name(Ball("linf", "8/255"))
    'linf-8_255'
    """
    return str(ball).replace(":", "-").replace("/", "_")
