"""One way to compile a kernel: numba without Python objects, cached on disk."""

import inspect
from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles a function with `numba.njit`, cached, and without Python's lock: progress moves.

    A type checker may have wrapped the function (our tests check every shape of the package);
    numba needs the bare one.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        return njit(cache=True, nogil=True, **options)(inspect.unwrap(function))

    return decorate
