"""The files of a project that commands find by themselves: in the working directory, or the nearest one above it.

``epsball.toml`` holds a table per command, ``[gate]``, whose keys are the command's options without their dashes, and
the names of its arguments; ``pyproject.toml`` holds the same under ``[tool.epsball.gate]``. What the command line says
wins.
"""

from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclopts import App, Argument, ArgumentCollection, Token
from cyclopts.config import Dict

from epsball.errors import InputError, nearest
from epsball.toml_files import read_toml

_TABLES = {"epsball.toml": (), "pyproject.toml": ("tool", "epsball")}
"""Where the tables of the commands stand in a file of a name; in one directory the first wins."""


@dataclass(frozen=True, kw_only=True)
class Used:
    """The table of a project's file that a command uses.

    Parameters
    ----------
    file
        The file.
    keys
        The table's name.
    options
        The keys whose values the command took, since the command line did not say otherwise.
    """

    file: Path
    keys: tuple[str, ...]
    options: tuple[str, ...]

    def __str__(self) -> str:
        return f"[{'.'.join(self.keys)}] of {shown(self.file)}"

    def key(self, option: str) -> tuple[str, ...] | None:
        """Return where an option's value stands in the file; None where the command did not take it from there."""
        names = (name for name in self.options if _plain(name) == _plain(option))
        return next(((*self.keys, name) for name in names), None)


_USED: ContextVar[Used | None] = ContextVar("used", default=None)


def used() -> Used | None:
    """Return which table of which file the command that runs uses; None if it uses none."""
    return _USED.get()


def found_above(*names: str, wanted: Callable[[Path], bool] = Path.is_file) -> Path | None:
    """Return the nearest file of one of these names in the working directory or above it; None if there is none.

    Parameters
    ----------
    names
        The names; in one directory the first that is there wins.
    wanted
        Whether a file of such a name counts.
    """
    here = Path.cwd()
    files = (directory / name for directory in (here, *here.parents) for name in names)
    return next(filter(wanted, files), None)


def shown(file: Path) -> str:
    """Return a file's path as short as it can be written from the working directory."""
    here = Path.cwd()
    return str(file.relative_to(here)) if file.is_relative_to(here) else str(file)


def from_project(root: App) -> Callable[[App, tuple[str, ...], ArgumentCollection], None]:
    """Return what fills in the arguments of any command of an app that the command line did not give.

    What it returns raises `InputError` where the file is not TOML or has a table of no command, or a value that is
    none; cyclopts complains of unknown keys.
    """

    def fill(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        _USED.set(None)
        file = found_above(*_TABLES, wanted=lambda path: path.is_file() and _tables(path) is not None)
        if file is None:
            return
        tables: Any = _tables(file)
        _check_names(root, file, tables)
        for command in commands:
            tables = tables.get(command, {})
            if not isinstance(tables, Mapping):
                raise InputError(f"'{command}' in {shown(file)} is {tables!r}; it is a table, [{command}].")
        options = {key: value for key, value in tables.items() if key not in app}
        if not options:
            return
        place = Used(file=file, keys=(*_TABLES[file.name], *commands), options=())
        _fill(options, str(place), arguments)
        taken = tuple(name for name in options if _taken(name, str(place), arguments))
        _USED.set(Used(file=file, keys=place.keys, options=taken))

    return fill


def _tables(file: Path) -> Mapping[str, Any] | None:
    """Return the tables of the commands in a file; None where it has none."""
    found: Any = read_toml(file)
    for key in _TABLES[file.name]:
        found = found.get(key)
        if not isinstance(found, Mapping):
            return None
    return found


def _check_names(root: App, file: Path, tables: Mapping[str, Any]) -> None:
    known = [name for name in root if not name.startswith("-")]
    for name in tables:
        if name not in known:
            raise InputError(
                f"unknown table '{name}' in {shown(file)}; a table is the name of a command, as in [gate]; the "
                f"commands are {', '.join(known)}.{nearest(name, known)}"
            )


def _fill(options: Mapping[str, Any], source: str, arguments: ArgumentCollection) -> None:
    positional = {_plain(argument.name): argument for argument in arguments if argument.field_info.is_positional_only}
    named = {key: value for key, value in options.items() if _plain(key) not in positional}
    for key in options.keys() - named.keys():
        argument = positional[_plain(key)]
        values = options[key] if isinstance(options[key], list) else [options[key]]
        if len(values) > 1 and not argument.token_count()[1]:
            raise InputError(f"{key} in {source} is {options[key]}; it takes one value.")
        for index, value in enumerate(values if not argument.tokens else ()):
            argument.append(Token(keyword=key, value=str(value), source=source, index=index))
    Dict(named, source=source, use_commands_as_keys=False)(App(), (), arguments)


def _taken(option: str, source: str, arguments: Iterable[Argument]) -> bool:
    return any(
        _plain(option) in map(_plain, argument.names) and any(token.source == source for token in argument.tokens)
        for argument in arguments
    )


def _plain(name: str) -> str:
    return name.lstrip("-").replace("_", "-").lower()
