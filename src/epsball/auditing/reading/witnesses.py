"""What each witness changes."""

import math
from dataclasses import dataclass

import numpy as np

from epsball.auditing.reading.run import Reading
from epsball.radius import parse_radius

_SAME = 2e-6
"""Differences of float32 pixels up to here are one."""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What the witnesses of a run change, one entry per witness.

    Parameters
    ----------
    index
        Position of the example.
    largest, length, changed
        Largest change of a value, l2 length of the change, number of values that change.
    prediction
        The class of the witness, -1 where it is not recorded.
    values
        Number of values of an example.
    """

    index: np.ndarray
    largest: np.ndarray
    length: np.ndarray
    changed: np.ndarray
    prediction: np.ndarray
    values: int


def changes(reading: Reading) -> Changes:
    """Return what the witnesses of a run change."""
    parts: list[tuple[np.ndarray, ...]] = []
    values = 0
    for part in reading.witnesses():
        n = len(part["index"])
        difference = (part["x_adv"].astype(np.float64) - part["x"]).reshape(n, math.prod(part["x"].shape[1:]))
        values = max(values, difference.shape[1])
        size = np.abs(difference)
        largest = size.max(axis=1, initial=0.0)
        parts.append((part["index"], largest, np.sqrt((difference**2).sum(axis=1)), (size > 0).sum(axis=1)))
    joined = [np.concatenate([part[k] for part in parts]) if parts else np.zeros(0) for k in range(4)]
    index, classes = (reading.shown.get(f"witness.{name}", np.zeros(0)).tolist() for name in ("index", "prediction"))
    known = dict(zip(index, classes, strict=False))
    prediction = np.array([known.get(int(i), -1) for i in joined[0]], dtype=np.int64)
    return Changes(
        index=joined[0].astype(np.int64),
        largest=joined[1],
        length=joined[2],
        changed=joined[3].astype(np.int64),
        prediction=prediction,
        values=values,
    )


def size_text(value: float, ball: str) -> str:
    """Return the size of a change in words: the radius where it is the radius of a linf ball, else a number.

    Examples
    --------
    >>> size_text(0.0313725, "linf:8/255"), size_text(0.02, "linf:8/255"), size_text(0.5, "l2:0.5")
    ('8/255', '0.02', '0.5')
    """
    norm, _, radius = ball.partition(":")
    radius = radius.split(",")[0]
    if norm == "linf" and abs(value - float(parse_radius(radius))) <= _SAME:
        return radius
    return f"{value:.3g}"
