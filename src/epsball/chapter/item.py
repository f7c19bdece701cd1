"""`Item`: a figure, table or claim of the chapter that one command makes again."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from epsball.chapter.claim import Claim, Tables
from epsball.chapter.laboratory import Laboratory

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Item:
    """A figure, table or claim of the chapter.

    Parameters
    ----------
    name
        What the command line calls it.
    section
        Where it stands in the chapter.
    title
        What it shows.
    claims
        What the chapter says there.
    measure
        Does the work, once: from data, networks and size to tables.
    draw
        Draws the tables; they hold everything it needs.
    networks
        The networks of `epsball.chapter.networks` that it takes.
    """

    name: str
    section: str
    title: str
    claims: tuple[Claim, ...]
    measure: Callable[[Laboratory], Tables]
    draw: "Callable[[Tables], Figure]"
    networks: tuple[str, ...] = ()
