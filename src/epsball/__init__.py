"""epsball: how robust a classifier is really, provably, and compared with what is possible at all."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from epsball.ball import Ball as Ball

__version__ = "0.1.0"

_HOMES = {"Ball": "epsball.ball"}

__all__ = ["Ball", "__version__"]  # noqa: RUF022


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'epsball' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
