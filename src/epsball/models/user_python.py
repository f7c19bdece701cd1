"""``FILE.py:function``: a module built by the user's own Python.

Naming a function runs its file: this is the one way in which a model's text runs code, and it
runs only the code that the user names.
"""

import hashlib
import linecache
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from epsball.errors import EpsballError, InputError, ModelError, nearest
from epsball.models.file_kind import require_file
from epsball.option_text import OWN_MODULE, is_own


@contextmanager
def imported(
    path: Path, *, owner: str = "model", failure: type[EpsballError] = ModelError, version: str = ""
) -> Iterator[ModuleType]:
    """Run a Python file as a module of its own, whose neighbours it may import within the block.

    The module stays in ``sys.modules`` under a name that no import statement would use, so that
    its classes work (dataclasses, pickling, `inspect`). Neighbours it imported are taken out
    again: two models may each have their own ``layers.py``. A `version` is part of the name.

    Raises
    ------
    InputError
        If there is no such file.
    ModelError
        If running it fails; names the file and the line. Where `owner` is not a model, `failure` instead.
    """
    require_file(path)
    path = path.resolve()
    module = ModuleType(module_name(path, version))
    module.__file__ = str(path)
    linecache.checkcache(str(path))
    sys.modules[module.__name__] = module
    with _neighbours_importable(path.parent):
        try:
            with reported(path, owner, failure):
                exec(compile(path.read_bytes(), str(path), "exec"), vars(module))
        except BaseException:
            sys.modules.pop(module.__name__, None)
            raise
        yield module


def module_name(path: Path, version: str = "") -> str:
    """Return the name in ``sys.modules`` of a file's module."""
    return f"{OWN_MODULE}{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}{version}"


@contextmanager
def reported(path: Path, owner: str = "model", failure: type[EpsballError] = ModelError) -> Iterator[None]:
    """Turn what goes wrong in the user's code into an error that names the file and the line."""
    try:
        yield
    except EpsballError:
        raise
    except (Exception, SystemExit) as error:
        raise failure(
            f"{_place(path, error)}: {type(error).__name__}: {error}. The {owner}'s own code failed; correct it there."
        ) from error


def public_function(module: ModuleType, name: str) -> Callable[..., Any]:
    """Return the function or class `name` of a module.

    Raises
    ------
    InputError
        If there is none; names the nearest.
    """
    function = vars(module).get(name)
    if callable(function):
        return function
    own = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
    raise InputError(
        f"{module.__file__} has no function '{name}'.{nearest(name, own)} It defines: {', '.join(own) or 'none'}."
    )


@contextmanager
def _neighbours_importable(folder: Path) -> Iterator[None]:
    before = set(sys.modules)
    entry = str(folder)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        if entry in sys.path:
            sys.path.remove(entry)
        for name in set(sys.modules) - before:
            if not is_own(name) and _is_neighbour(folder, name):
                del sys.modules[name]


def _is_neighbour(folder: Path, name: str) -> bool:
    """Whether a module was found in `folder` itself, not in an environment that lies below it."""
    module = sys.modules[name]
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    top = name.partition(".")[0]
    return any(
        Path(place).is_relative_to(folder) and Path(place).relative_to(folder).parts[0].partition(".")[0] == top
        for place in places
        if place
    )


def _place(path: Path, error: BaseException) -> str:
    """Return file and line of the error: the last line of `path` that led to it, if there is one."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename) == path]
    last = (own or frames)[-1]
    return f"{last.filename}, line {last.lineno}"
