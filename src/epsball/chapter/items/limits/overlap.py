"""Figure 17.3: disjoint and meeting neighbourhoods."""

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from epsball.chapter.claim import Claim, Decision, Tables
from epsball.chapter.evidence import without_exception
from epsball.chapter.item import Item
from epsball.chapter.laboratory import Laboratory
from epsball.limits import optimal_risk
from epsball.limits.figures import overlap_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RADIUS = Fraction(1, 8)
DISTANCES = tuple(Fraction(k, 64) for k in range(4, 33))
"""In pixels; 16/64 is twice the radius, exactly."""


def measure(laboratory: Laboratory) -> Tables:
    """Return the optimal risk of two points of different class at each distance, in three norms."""
    rows: dict[str, list[float | str | bool]] = {"norm": [], "distance": [], "meet": [], "risk": []}
    for norm in ("linf", "l2", "l1"):
        for distance in DISTANCES:
            x = np.array([[0.0, 0.25], [float(distance), 0.25]])
            limit = optimal_risk(x, np.array([0, 1]), norm=norm, radii=[RADIUS]).at(RADIUS)
            found = (norm, float(distance), distance <= 2 * RADIUS, limit.risk.value)
            for column, value in zip(rows.values(), found, strict=True):
                column.append(value)
    return {"pairs": rows}


def _forced(tables: Tables) -> Decision:
    pairs = tables["pairs"]
    rows = list(zip(pairs["norm"], pairs["distance"], pairs["meet"], pairs["risk"], strict=True))
    exceptions = [f"{norm} at {distance}" for norm, distance, meet, risk in rows if risk != (0.5 if meet else 0.0)]
    return without_exception(exceptions, len(rows), "one of the two points is lost exactly where the closed balls meet")


def draw(tables: Tables) -> "Figure":
    """Return both pictures of the chapter."""
    return overlap_figure("l2")


ITEM = Item(
    name="figure-17.3",
    section="17.6.4",
    title="Disjoint and meeting neighbourhoods",
    claims=(
        Claim(
            name="forced",
            says="Where two neighbourhoods meet no classifier keeps both points; where they are disjoint one can.",
            criterion="In each norm the optimal risk is 1/2 if d <= 2 eps, else 0: no exception over 29 distances, the "
            "touching one among them.",
            decide=_forced,
        ),
    ),
    measure=measure,
    draw=draw,
)
