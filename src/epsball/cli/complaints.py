"""What a wrong command line gets: what is wrong, what the rule is, what would be right."""

from collections.abc import Iterable
from typing import Any

from cyclopts import (
    Argument,
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    Token,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
    ValidationError,
)

from epsball.errors import nearest

_KINDS = {int: "a whole number", float: "a number", bool: "true or false"}


def complaint(error: CycloptsError) -> str:
    """Return what is wrong with a command line, and which help says more."""
    command = " ".join(["epsball", *(error.command_chain or ())])
    return f"{_fact(error)}\nSee '{command} --help'."


def _fact(error: CycloptsError) -> str:
    match error:
        case MissingArgumentError(argument=Argument() as argument):
            return _missing(error, argument)
        case ValidationError(argument=Argument() as argument):
            said = error.exception_message
            return f"{_place(argument)}{' ' if said.startswith('is ') else ': '}{said}"
        case CoercionError(argument=Argument() as argument):
            return _wrong_value(error, argument)
        case UnknownOptionError() if error.token.source not in ("", "cli"):
            return _unknown_key(error.token, _names(error.argument_collection))
        case UnknownOptionError():
            return _unknown_option(error.token.keyword or error.token.value, _names(error.argument_collection))
        case UnknownCommandError():
            return _unknown_command(error)
        case UnusedCliTokensError():
            return f"one argument too many: {error.unused_tokens and error.unused_tokens[0]!r}; leave it out."
        case RepeatArgumentError():
            names = next((a.names for a in _arguments(error) if error.token.keyword in a.names), ())
            same = f" ({' and '.join(names)} are one option)" if len(names) > 1 else ""
            return f"{error.token.keyword} is given twice{same}; give it once."
    error.verbose = False
    return str(error)


def _missing(error: MissingArgumentError, argument: Argument) -> str:
    known = _names(_arguments(error))
    options = [token.partition("=")[0] for token in error.unused_tokens or () if token.startswith("--")]
    unknown = [option for option in options if option not in known]
    if unknown:
        return _unknown_option(unknown[0], known)
    needed, _ = argument.token_count()
    given = len(error.tokens_so_far)
    if needed > 1 and given:
        fact = f"{_place(argument)} has {given} value{'s' * (given > 1)}, but takes {needed}"
    elif any(name in (error.root_input_tokens or ()) for name in argument.names):
        fact = f"{_place(argument)} has no value"
    else:
        fact = f"{_place(argument)} is missing"
    return f"{fact}: {_meaning(error, argument)}"


def _wrong_value(error: CoercionError, argument: Argument) -> str:
    kind: Any = error.target_type
    value = error.token.value if error.token else ""
    fact = f"{_place(argument)} is {value!r}"
    choices = argument.get_choices()
    if choices:
        return f"{fact}; it is one of {', '.join(choices)}.{nearest(value, choices)}"
    if kind in _KINDS:
        return f"{fact}; it takes {_KINDS[kind]}: {_meaning(error, argument)}"
    if error.token is not None and value.startswith("["):  # a list, of a configuration
        return f"{_place(argument, error.token)} is {value}; it takes one value: {_meaning(error, argument)}"
    error.verbose = False
    return str(error)


def _unknown_option(option: str, known: Iterable[str]) -> str:
    return f"unknown option {option}.{nearest(option, known)}"


def _unknown_key(token: Token, known: Iterable[str]) -> str:
    key = _key(token)
    options = [name.lstrip("-") for name in known]
    return f"unknown key '{key}' in {token.source}.{nearest(key.replace('_', '-'), options)}"


def _key(token: Token) -> str:
    """Return a configuration's key as its file has it."""
    return (token.keyword or "").strip("[]").replace("][", ".")


def _unknown_command(error: UnknownCommandError) -> str:
    known = [name for name in error.app or () if not name.startswith("-")]
    token = (error.unused_tokens or [""])[0]
    if token.startswith("-"):
        return _unknown_option(token, ["--help", "--version", "--install-completion"])
    return f"unknown command '{token}'; the commands are {', '.join(known)}.{nearest(token, known)}"


def _names(arguments: Iterable[Argument]) -> list[str]:
    return [name for argument in arguments for name in argument.names]


def _place(argument: Argument, token: Token | None = None) -> str:
    """Return what stands on the command line: an option as it was written, MODEL; and a configuration's file."""
    token = token or (argument.tokens[0] if argument.tokens else None)
    if token is not None and token.source not in ("", "cli"):
        return f"{_key(token)} in {token.source}"
    place = token.keyword if token is not None else None
    if place is None:
        place = argument.name.lstrip("-").upper() if argument.field_info.is_positional else argument.name
    return place


def _arguments(error: CycloptsError) -> Iterable[Argument]:
    """Return the arguments of the command, with the help that stands in docstrings."""
    return () if error.app is None else error.app.assemble_argument_collection(parse_docstring=True)


def _meaning(error: CycloptsError, argument: Argument) -> str:
    """Return what a parameter's help says, as a clause."""
    texts = (known.parameter.help for known in _arguments(error) if known.name == argument.name)
    text = " ".join((next(texts, None) or "").split())
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]
