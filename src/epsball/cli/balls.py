"""Several balls on the command line: ``--ball`` more than once, or the radii of ``--radii``."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from epsball import ball_text
from epsball.cli.radii import parse_radii
from epsball.errors import InputError
from epsball.radius import format_radius

if TYPE_CHECKING:
    from epsball.ball import Ball


def _check_balls(_: object, texts: tuple[str, ...]) -> None:
    for text in texts:
        # Without a radius it is the norm of --radii, which is not known here.
        ball_text.check(text if ":" in text else _with_radius(text, "0"))


def _check_radii(_: object, text: str | None) -> None:
    if text is not None:
        parse_radii(text)


Balls = Annotated[
    tuple[str, ...],
    Parameter(
        name="--ball",
        validator=_check_balls,
        help="The perturbation set, NORM:RADIUS, as in linf:8/255 or l2:0.5; twice for two; NORM alone with --radii.",
    ),
]
Radii = Annotated[
    str,
    Parameter(validator=_check_radii, help="Radii of several balls, as in 0.05,0.1,0.2 or LOW:HIGH:STEP, in pixels."),
]


def balls_of(texts: tuple[str, ...], radii: str | None) -> "list[Ball]":
    """Return the balls that the texts name: as they are, and of each norm those of the radii.

    Raises
    ------
    InputError
        If a text is a norm alone and no radii are given, or no ball is named.
    """
    from epsball.ball import Ball

    found = [Ball.parse(text) for text in texts if ":" in text]
    norms = [text for text in texts if ":" not in text]
    if radii is None and norms:
        raise InputError(f"the ball '{norms[0]}' has no radius; write {norms[0]}:RADIUS, or give --radii.")
    if radii is not None:
        # Without a norm alone, the radii are further ones of the balls given.
        for text in dict.fromkeys(norms or [_without_radius(ball) for ball in found]):
            found += [Ball.parse(_with_radius(text, format_radius(radius))) for radius in parse_radii(radii)]
    if not found:
        raise InputError("no ball was given; write --ball NORM:RADIUS, as in linf:8/255.")
    return list(dict.fromkeys(found))


def _with_radius(text: str, radius: str) -> str:
    norm, comma, box = text.partition(",")
    return f"{norm}:{radius}{comma}{box}"


def _without_radius(ball: "Ball") -> str:
    """Return the text of a ball's norm and box."""
    return ball.norm + "".join(str(ball).partition(",")[1:])
