"""``--config FILE.yaml``: a file of flags. Flags on the command line win."""

from pathlib import Path
from typing import Any

from cyclopts import App, ArgumentCollection
from cyclopts.config import Dict

from epsball.errors import InputError


def from_file(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Fill in the arguments that were not given from the file that ``--config`` names, if any.

    A key is a flag without its dashes (``batch-size``) or a positional argument's name.

    Raises
    ------
    InputError
        If the file cannot be read, or is not a list of flags.
    """
    named = next((a for a in arguments if "--config" in a.names), None)
    if named is None or not named.tokens:
        return
    path = Path(named.tokens[0].value)
    Dict(read_flags(path), source=str(path), use_commands_as_keys=False)(app, commands, arguments)


def read_flags(path: Path) -> dict[str, Any]:
    """Return the flags in a YAML file.

    Raises
    ------
    InputError
        If it cannot be read, is not YAML, or a value is not a number, a text, true or false.
    """
    import yaml

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"the configuration {path} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise InputError(f"the configuration {path} is not a mapping; write lines such as 'epochs: 10'.")
    for key, value in document.items():
        if not isinstance(value, str | int | float | bool):
            raise InputError(f"'{key}' in {path} is {value!r}; a flag is a text, a number, or true or false.")
    return {str(key).replace("_", "-"): value for key, value in document.items()}


def flags_text(flags: dict[str, Any]) -> str:
    """Return flags as a YAML file that `read_flags` reads; flags that are None are left out."""
    import yaml

    given = {key.replace("_", "-"): value for key, value in flags.items() if value is not None}
    return yaml.safe_dump(given, sort_keys=False, allow_unicode=True)
