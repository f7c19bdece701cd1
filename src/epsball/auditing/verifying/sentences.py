"""What findings share: sentences about what does not hold, and numbers that are the same."""

import numpy as np

_SHOWN = 3
_CLOSE = 1e-12


def rows_that(what: str, wrong: np.ndarray, index: np.ndarray) -> list[str]:
    """Return a sentence about the examples that are wrong, if any are."""
    positions = index[wrong].tolist()
    return [f"{what} at {', '.join(map(str, positions[:_SHOWN]))} ({len(positions)})"] if positions else []


def several(sentences: list[str]) -> str:
    """Return the first sentences, and how many more there are."""
    more = len(sentences) - _SHOWN
    return "; ".join(sentences[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def close(a: object, b: float) -> bool:
    """Return whether something read is the number that follows."""
    return isinstance(a, int | float) and abs(a - b) <= _CLOSE
