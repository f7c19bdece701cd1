"""The order in which several balls are audited."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

from epsball.ball import Ball
from epsball.errors import InputError


def distinct(balls: Iterable[Ball]) -> tuple[Ball, ...]:
    """Return several balls, each once, by norm and radius.

    Raises
    ------
    InputError
        If there are none, something else is among them, or their boxes differ.
    """
    found = list(dict.fromkeys(balls))
    for ball in found:
        if not isinstance(ball, Ball):
            raise InputError(f"a ball is {ball!r}; give an epsball.Ball, or several of them.")
        if (ball.low, ball.high) != (found[0].low, found[0].high):
            raise InputError(f"the balls {found[0]} and {ball} have other boxes; several balls of one audit have one.")
    if not found:
        raise InputError("no ball was given; an audit has at least one.")
    return tuple(sorted(found, key=lambda ball: (ball.norm, ball.radius)))


def bisected(balls: Sequence[Ball]) -> list[Ball]:
    """Return balls in the order in which their runs share most: of each norm the middle radius first.

    A witness within a ball is one within every larger ball, a certificate holds within every smaller one. With the
    middle radius first, then the middle of each half, an example that is broken or certified there is left out in
    one of the halves, so that it is searched about log2 of the number of radii times.

    Examples
    --------
    >>> [str(ball) for ball in bisected([Ball("linf", f"{k}/10") for k in range(1, 8)])]
    ['linf:0.4', 'linf:0.2', 'linf:0.6', 'linf:0.1', 'linf:0.3', 'linf:0.5', 'linf:0.7']
    """
    norms = dict.fromkeys(ball.norm for ball in balls)
    halved = [_halved(sorted((b for b in balls if b.norm == norm), key=lambda b: b.radius)) for norm in norms]
    return [ball for level in zip_longest(*halved) for ball in level if ball is not None]


def _halved(balls: Sequence[Ball]) -> Iterator[Ball]:
    """Yield sorted balls level by level of the tree of their middles."""
    parts = [balls]
    while parts:
        following: list[Sequence[Ball]] = []
        for part in parts:
            middle = len(part) // 2
            yield part[middle]
            following += [half for half in (part[:middle], part[middle + 1 :]) if half]
        parts = following
