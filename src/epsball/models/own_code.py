"""``FILE.py:NAME``: an attack, an objective or a bound of the user's own, and the hashes by which it is recorded."""

import ast
import hashlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from epsball.errors import InputError
from epsball.models.file_kind import require_file
from epsball.models.user_python import imported, module_name, public_function, reported

_NAMED = re.compile(r"(?P<file>.+\.py)(?::(?P<name>.*))?", re.DOTALL)
_FILES = "__epsball_files__"


def own_object(text: str, what: str) -> Callable[..., Any] | None:
    """Return the class or function that ``FILE.py:NAME`` names, or None where a text has another form.

    The file is run unless it is loaded and has not changed since.

    Parameters
    ----------
    text
        A method's text without its options.
    what
        What it should be, for messages: ``"attack"``.

    Raises
    ------
    InputError
        If there is no such file, it fails, or it has no such class or function.

    Examples
    --------
    >>> own_object("pgd", "attack") is None
    True
    >>> own_object("mine.py:Nudge", "attack")
    Traceback (most recent call last):
        ...
    epsball.errors.InputError: there is no file mine.py.
    """
    named = _NAMED.fullmatch(text)
    if named is None:
        return None
    if not named["name"]:
        raise InputError(f"{text} names a file; say which {what} in it, as in {named['file']}:NAME.")
    return public_function(_module(Path(named["file"]).expanduser(), what), named["name"])


def _module(path: Path, what: str) -> ModuleType:
    """Return a file as a module that knows its files; it is run unless it was, and has not changed since."""
    require_file(path)
    files = _hashes(path.resolve())
    version = "_" + hashlib.sha256(repr(files).encode()).hexdigest()[:16]
    known = sys.modules.get(module_name(path, version))
    if known is not None:
        return known
    with imported(path, owner=what, failure=InputError, version=version) as module:
        setattr(module, _FILES, files)
        return module


def made(kind: Callable[..., Any], text: str, what: str, **options: Any) -> Any:
    """Return what a class or function of the user's makes, called with options.

    Raises
    ------
    InputError
        If it is an abstract class, cannot be called so, or fails.
    """
    missing = sorted(getattr(kind, "__abstractmethods__", ()))
    if missing:
        raise InputError(f"{text} is an abstract class: it does not define {', '.join(missing)}. Define it.")
    try:
        inspect.signature(kind).bind(**options)
    except TypeError as error:
        raise InputError(
            f"{text} cannot be made: {error}. Give every option a default; NAME is a class, or a function without "
            f"arguments, that makes it."
        ) from error
    with reported(Path(text.rpartition(":")[0]).expanduser().resolve(), what, InputError):
        return kind(**options)


def takes(called: Callable[..., Any], *places: str, **keywords: str) -> bool:
    """Return whether a callable can be called with these arguments, given by their names only."""
    try:
        inspect.signature(called).bind(*places, **keywords)
    except (TypeError, ValueError):
        return False
    return True


def own_files(value: object) -> dict[str, str] | None:
    """Return the files that a class, a function or an object of the user's was loaded from, with their SHA-256.

    They are the file that was named and the files beside it that it imports, by name. None is returned for what
    was not loaded by `own_object`.
    """
    kind = value if hasattr(value, "__module__") and hasattr(value, "__qualname__") else type(value)
    return getattr(sys.modules.get(kind.__module__), _FILES, None)


def own_name(kind: Callable[..., Any]) -> str:
    """Return ``FILE.py:NAME`` of a loaded class or function, whatever the folder; of others the dotted name."""
    files = own_files(kind)
    return f"{kind.__module__}.{kind.__qualname__}" if files is None else f"{next(iter(files))}:{kind.__qualname__}"


def _hashes(path: Path) -> dict[str, str]:
    """Return the SHA-256 of a file and of those beside it that it imports, directly or not, by name."""
    found: dict[Path, str] = {}
    waiting = [path]
    while waiting:
        file = waiting.pop(0)
        if file not in found:
            content = file.read_bytes()
            found[file] = hashlib.sha256(content).hexdigest()
            waiting += _beside(path.parent, content)
    return {file.relative_to(path.parent).as_posix(): digest for file, digest in found.items()}


def _beside(folder: Path, content: bytes) -> Iterator[Path]:
    """Yield the files in a folder that a file's import statements name; of a package, all its files."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # Running the file says so.
        return
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module]
        for top in {name.partition(".")[0] for name in names}:
            if (folder / f"{top}.py").is_file():
                yield folder / f"{top}.py"
            elif (folder / top / "__init__.py").is_file():
                yield from sorted((folder / top).rglob("*.py"))
