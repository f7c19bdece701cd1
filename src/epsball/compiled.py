"""One way to compile a kernel: numba without Python objects, cached on disk where a folder can be written."""

import inspect
from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles a function with `numba.njit`, cached, and without Python's lock: progress moves.

    A type checker may have wrapped the function (our tests check every shape of the package);
    numba needs the bare one. Where neither the package's folder nor the user's can be written (a container without a
    home), every process compiles anew.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        bare = inspect.unwrap(function)
        try:
            return njit(cache=True, nogil=True, **options)(bare)
        except RuntimeError:  # numba finds no folder for its cache
            return njit(nogil=True, **options)(bare)

    return decorate
