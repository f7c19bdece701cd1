"""Probes: numbers of a model's first outputs, by which a folder notices that its code has changed."""

from collections.abc import Sequence

TOLERANCE = 1e-3
"""How far margins may differ by rounding alone, relative to 1 + the largest of them."""


def same_probe(a: Sequence[float | None], b: Sequence[float | None]) -> bool:
    """Return whether two probes agree up to rounding on another number of threads.

    Examples
    --------
    >>> same_probe([1.0, None], [1.0 + 1e-6, None]), same_probe([1.0, None], [1.1, None])
    (True, False)
    """
    size = 1 + max((abs(v) for v in a if v is not None), default=0.0)
    return len(a) == len(b) and all(
        u is v if u is None or v is None else abs(u - v) <= TOLERANCE * size for u, v in zip(a, b, strict=True)
    )
