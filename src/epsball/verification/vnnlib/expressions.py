"""The parentheses of a VNN-LIB file: nested lists of words, each with its line."""

import re
from collections.abc import Sequence
from typing import NamedTuple, NoReturn, TypeAlias

from epsball.errors import InputError, UnsupportedOperation

BOUND = r"\(\s*([<>]=)\s+([XY]_(?:0|[1-9]\d*))\s+([+-]?\d+(?:\.\d*)?)\s*\)"
"""A bound of one variable by a number, of which most of a query consists: read at once, if on one line."""

_TOKEN = re.compile(rf"{BOUND}|\n|;[^\n]*|[()]|[^\s();]+".replace(r"\s", r"[^\S\n]", 4))


class Word(NamedTuple):
    """A word or number, and its line."""

    text: str
    line: int


class Group(NamedTuple):
    """What stands in a pair of parentheses, and the line of the opening one."""

    items: Sequence["Expression"]
    line: int

    @property
    def head(self) -> str:
        """Its first word; empty where it has none."""
        first = self.items[0] if self.items else None
        return first.text if isinstance(first, Word) else ""


class Bound(NamedTuple):
    """``(<= X_0 1.5)`` or the like: relation, variable and number as written, and the line."""

    relation: str
    variable: str
    number: str
    line: int

    @property
    def whole(self) -> Group:
        """The same as a group of words."""
        return Group([Word(text, self.line) for text in self[:3]], self.line)


Expression: TypeAlias = Word | Group | Bound


class Place(NamedTuple):
    """A file in which messages name lines."""

    path: str

    def wrong(self, line: int, message: str) -> NoReturn:
        """Raise `InputError` about a line: fact, rule and fix."""
        raise InputError(f"{self.path}, line {line}: {message}")

    def unsupported(self, line: int, message: str) -> NoReturn:
        """Raise `UnsupportedOperation` about a line: fact, rule and fix."""
        raise UnsupportedOperation(f"{self.path}, line {line}: {message}")


def read_expressions(text: str, place: Place, line: int = 1) -> list[Group]:
    """Return the commands of a text; what follows a semicolon on a line is a comment.

    Parameters
    ----------
    text, place
        The text, and the file that it is of.
    line
        The number of its first line there.

    Raises
    ------
    InputError
        If a parenthesis is not closed or not opened, or a word stands outside of all.

    Examples
    --------
    >>> (command,) = read_expressions("(assert (<= X_0 1)) ; at most 1", Place("example"))
    >>> command.head, command.items[1].relation
    ('assert', '<=')
    """
    commands: list[Group] = []
    stack: list[tuple[list[Expression], int]] = []
    for match in _TOKEN.finditer(text):
        token = match.group()
        if match[1]:
            bound = Bound(match[1], match[2], match[3], line)
            if stack:
                stack[-1][0].append(bound)
            else:
                commands.append(bound.whole)
        elif token == "\n":
            line += 1
        elif token == "(":
            stack.append(([], line))
        elif token == ")":
            if not stack:
                place.wrong(line, "a ')' closes nothing; parentheses come in pairs. Remove it.")
            group = Group(*stack.pop())
            (stack[-1][0] if stack else commands).append(group)
        elif token[0] != ";":
            if not stack:
                place.wrong(line, f"'{token[:40]}' stands outside of all parentheses. Every command stands in a pair.")
            stack[-1][0].append(Word(token, line))
    if stack:
        place.wrong(stack[-1][1], "a '(' is never closed; parentheses come in pairs. Is the file cut off?")
    return commands
