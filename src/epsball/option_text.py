"""The grammar of every text that names a model, data or a method: ``HEAD[,key=value]...``."""

import re
from collections.abc import Mapping

from epsball.errors import InputError, lookup

_OPTION = re.compile(r",\s*([A-Za-z_][A-Za-z0-9_]*)\s*=")


OWN_MODULE = "_epsball_model_"
"""How the modules of users' own files, ``FILE.py:NAME``, are named in ``sys.modules``."""


def is_own(module: str) -> bool:
    """Return whether a module is a user's own file.

    Examples
    --------
    >>> is_own("epsball.attacks")
    False
    """
    return module.startswith(OWN_MODULE)


def split_options(text: str) -> tuple[str, dict[str, str]]:
    """Split ``HEAD[,key=value]...`` into the head and its options, in the order written.

    An option begins at a comma followed by ``identifier=``; every other comma belongs to the head or
    to the value around it, so that ``mean=0.1,0.2,0.3`` is one option.

    Parameters
    ----------
    text
        For instance ``"idx:folder,split=test,first=1000"``.

    Returns
    -------
    tuple of str and dict
        The head and the options as texts, without surrounding blanks.

    Raises
    ------
    InputError
        If the head or a value is empty, or a key is given twice.

    Examples
    --------
    >>> split_options("idx:folder,split=test,first=1000")
    ('idx:folder', {'split': 'test', 'first': '1000'})
    """
    head, *rest = _OPTION.split(text)
    if not head.strip():
        raise InputError(f"the text {text!r} has nothing before its options; write HEAD[,key=value]...")
    options: dict[str, str] = {}
    for key, value in zip(rest[::2], rest[1::2], strict=True):
        if not value.strip():
            raise InputError(f"option '{key}' in {text!r} has no value; write {key}=VALUE or leave it out.")
        if key in options:
            raise InputError(f"option '{key}' is given twice in {text!r}; give it once.")
        options[key] = value.strip()
    return head.strip(), options


_KINDS = {int: "whole number", float: "number", str: "text"}


def read_options(owner: str, defaults: Mapping[str, object], options: Mapping[str, str]) -> dict[str, object]:
    """Return option texts as values, each read as the type of its default.

    Parameters
    ----------
    owner
        The object with the options, for messages: ``"the attack 'pgd'"``.
    defaults
        The default of every field; only integers, floats and texts can be given as options.
    options
        The texts by name, as `split_options` returns them.

    Raises
    ------
    InputError
        If an option is unknown, or its text is not of the type of its default.

    Examples
    --------
    >>> read_options("the attack 'pgd'", {"steps": 40, "step_size": 0.1}, {"steps": "20"})
    {'steps': 20}
    """
    readable = {name: value for name, value in defaults.items() if type(value) in _KINDS}
    values: dict[str, object] = {}
    for name, text in options.items():
        if not readable:
            raise InputError(f"{owner} takes no {name}, nor any other option as text; leave it out.")
        default = lookup(readable, name, f"option of {owner}:")
        kind = type(default)
        try:
            values[name] = kind(text)  # pyright: ignore[reportCallIssue]
        except ValueError as error:
            raise InputError(
                f"option {name}={text} of {owner} is not a {_KINDS[kind]}; write it like {name}={default}."
            ) from error
    return values
