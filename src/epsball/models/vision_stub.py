"""A stand-in for a torchvision that is missing or does not fit this PyTorch, while another library is imported.

timm and transformers import torchvision for pictures, detection and feature extraction. Classifiers use none of it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from epsball.errors import ModelError

_NAME = "torchvision"
INSTALL = (
    "install torch and torchvision in builds for each other, "
    "pip install --upgrade torch torchvision --index-url https://download.pytorch.org/whl/cpu"
)
"""How to mend it."""


@contextmanager
def torchvision_or_stub(*, where_missing: bool = True) -> Iterator[bool]:
    """Within the block importing torchvision succeeds; yields whether a stand-in is in its place.

    The stand-in's names are classes that cannot be called. It is taken out again at the end. A library that
    does without torchvision by itself needs it not `where_missing`, only where it is broken.
    """
    if _works() or not (where_missing or _installed()):
        yield False
        return
    _forget()
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield True
    finally:
        sys.meta_path.remove(finder)
        _forget()


def _works() -> bool:
    try:
        __import__(_NAME)
    except Exception:  # A build for another PyTorch fails in any way: operators, symbols, files.
        return False
    return True


def _installed() -> bool:
    return find_spec(_NAME) is not None


def _forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == _NAME]:
        del sys.modules[name]


class _Finder(MetaPathFinder, Loader):
    """Finds every module of torchvision: an empty one."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return the spec of an empty package."""
        return ModuleSpec(fullname, self, is_package=True) if fullname.partition(".")[0] == _NAME else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the empty package."""
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing."""


class _Module(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent(name, (), {})


class _Absent(type):
    """The class of a stand-in: has every attribute, and no instance."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent(name, (), {})

    def __call__(cls, *arguments: Any, **keywords: Any) -> Any:
        raise ModelError(f"{cls.__name__} of torchvision is needed, and torchvision cannot be imported: {INSTALL}")
