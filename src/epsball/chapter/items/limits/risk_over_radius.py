"""Figure 17.4: the risk of classifiers and the least possible, over the radius."""

from typing import TYPE_CHECKING

import numpy as np

from epsball.ball import Ball
from epsball.certificates import certify
from epsball.chapter.claim import Claim, Decision, Tables
from epsball.chapter.evidence import without_exception
from epsball.chapter.item import Item
from epsball.chapter.items.columns import right, stands
from epsball.chapter.laboratory import Laboratory
from epsball.limits import optimal_risk
from epsball.limits.curve_figure import risk_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RADII = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4)


def measure(laboratory: Laboratory) -> Tables:
    """Return, over the radius, what witnesses and certificates say of a network, and L* of the same examples."""
    data = "digits" if laboratory.size == "fast" else laboratory.subject
    examples = laboratory.examples(data, first=laboratory.pick(fast=300, default=2000))
    network = laboratory.network("ibp", data)
    limits = optimal_risk(*examples, norm="linf", radii=[str(radius) for radius in RADII])
    rows: dict[str, list[float]] = {"radius": [], "optimal": [], "stored": [], "broken": [], "uncertified": []}
    for radius in RADII:
        if radius == 0.0:
            wrong = 1.0 - float(np.mean(right(network, examples)))
            broken = uncertified = wrong
        else:
            ball = Ball("linf", radius)
            broken = 1.0 - float(np.mean(stands(network, examples, ball, "ensemble", seed=laboratory.seed)))
            uncertified = 1.0 - float(certify(network, *examples, ball, method="crown").certified.double().mean())
        limit = limits.at(str(radius))
        for column, value in zip(
            rows.values(), (radius, limit.risk.value, limit.stored, broken, uncertified), strict=True
        ):
            column.append(value)
    return {"risk": rows}


def _bound(tables: Tables) -> Decision:
    rows = {name: np.asarray(column, dtype=float) for name, column in tables["risk"].items()}
    below = rows["radius"][rows["uncertified"] < rows["stored"] - 1e-9].tolist()
    return without_exception(
        below, len(RADII), "1 - certified accuracy is never below the optimal risk of the stored data"
    )


def _missed(tables: Tables) -> Decision:
    rows = {name: np.asarray(column, dtype=float) for name, column in tables["risk"].items()}
    missed = rows["radius"][rows["broken"] < rows["stored"] - 1e-9]
    if len(missed):
        return Decision(
            verdict="differs",
            sentence=f"at {missed.tolist()} the attack's risk lies below the optimal one: there it missed witnesses.",
        )
    last = float(rows["optimal"][-1])
    return Decision(
        verdict="pattern",
        sentence=f"the risk under attack lies above L* at all {len(RADII)} radii; L* is {last:.3f} at {RADII[-1]}.",
    )


def draw(tables: Tables) -> "Figure":
    """Return both ends of the classifier's risk beside the optimum."""
    rows = {name: np.asarray(column, dtype=float) for name, column in tables["risk"].items()}
    attacked, uncertified = (np.where(rows["radius"] > 0, rows[c], np.nan) for c in ("broken", "uncertified"))
    return risk_figure(
        rows["radius"],
        rows["optimal"],
        natural=float(rows["broken"][0]),
        under_attack=attacked,
        certified=uncertified,
        unit="(linf, pixels of [0, 1])",
    )


ITEM = Item(
    name="figure-17.4",
    section="17.6.5",
    title="A classifier's risk and the least possible",
    claims=(
        Claim(
            name="bound",
            says="Even optimal classifiers cannot have a risk below the limit that the data set.",
            criterion="1 - certified accuracy is at least L* of the same stored examples at every radius.",
            decide=_bound,
        ),
        Claim(
            name="gap",
            says="A classifier's robust loss lies above the theoretical minimum.",
            criterion="The risk proved by witnesses is at least L* at every radius; else witnesses were missed.",
            decide=_missed,
        ),
    ),
    measure=measure,
    draw=draw,
    networks=("ibp",),
)
