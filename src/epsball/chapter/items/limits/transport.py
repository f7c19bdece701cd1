"""17.6.5 and 17.6.6: the optimal risk is half of what no coupling can merge."""

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linprog

from epsball.chapter.claim import Claim, Decision, Tables
from epsball.chapter.evidence import without_exception
from epsball.chapter.item import Item
from epsball.chapter.laboratory import Laboratory
from epsball.figures import BLACK, BLUE, GREY, SMALL, VERMILION, new_figure
from epsball.limits import optimal_risk

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE, CLASS, PROBLEMS, RADIUS = 8, 12, 60, 1.0
"""Points lie on integers below SIZE in the plane, CLASS of each class."""

EVERYWHERE = 6.0
"""A radius at which all balls meet."""


def measure(laboratory: Laboratory) -> Tables:
    """Return L* and (1 - D)/2 of random problems, D by a linear program of its own, and one coupling."""
    draws = np.random.default_rng(laboratory.seed)
    problems = [draws.integers(0, SIZE, size=(2 * CLASS, 2)).astype(np.float64) for _ in range(PROBLEMS)]
    labels = np.repeat([0, 1], CLASS)
    rows: dict[str, list[float]] = {"transport": [], "divergence": [], "optimal": [], "merged": []}
    for x in problems:
        divergence = _divergence(x[:CLASS], x[CLASS:], RADIUS)
        limits = optimal_risk(x, labels, norm="linf", radii=[RADIUS, EVERYWHERE])
        found = ((1.0 - divergence) / 2.0, divergence, limits.at(RADIUS).risk.value, limits.at(EVERYWHERE).risk.value)
        for column, value in zip(rows.values(), found, strict=True):
            column.append(value)
    x = problems[-1]
    best = optimal_risk(x, labels, norm="linf", radii=[RADIUS]).optimum(RADIUS)
    ends = {"from": x[best.coupling[:, 0]], "to": x[best.coupling[:, 1]]}
    coupling = {f"{end}_{axis}": points[:, k].tolist() for end, points in ends.items() for k, axis in enumerate("xy")}
    points = {"x": x[:, 0].tolist(), "y": x[:, 1].tolist(), "label": labels.tolist()}
    return {"problems": rows, "coupling": {**coupling, "mass": best.mass.tolist()}, "points": points}


def _divergence(a: np.ndarray, b: np.ndarray, radius: float) -> float:
    """Return D_N of two uniform measures: the least mass of a coupling on pairs whose balls do not meet.

    min sum c_ij pi_ij over pi >= 0 with sum_j pi_ij = 1/n and sum_i pi_ij = 1/m, c = 1[d > 2 eps].
    """
    n, m = len(a), len(b)
    cost = np.abs(a[:, None] - b).max(axis=2) > 2.0 * radius
    marginals = np.zeros((n + m, n * m))
    for i in range(n):
        marginals[i, i * m : (i + 1) * m] = 1.0
    for j in range(m):
        marginals[n + j, j::m] = 1.0
    target = np.concatenate([np.full(n, 1.0 / n), np.full(m, 1.0 / m)])
    return float(linprog(cost.ravel().astype(np.float64), A_eq=marginals, b_eq=target, bounds=(0, None)).fun)


def _equal(tables: Tables) -> Decision:
    transport, optimal = (np.asarray(tables["problems"][name]) for name in ("transport", "optimal"))
    off = np.flatnonzero(np.abs(transport - optimal) > 1e-9).tolist()
    return without_exception(off, len(optimal), "the optimal risk equals (1 - D)/2 to 1e-9, D by another solver")


def _merged(tables: Tables) -> Decision:
    merged = np.asarray(tables["problems"]["merged"])
    off = np.flatnonzero(merged != 0.5).tolist()
    return without_exception(off, len(merged), "with all balls meeting, D = 0 and the optimal risk is 1/2")


def draw(tables: Tables) -> "Figure":
    """Return an optimal coupling, and the two computations of the optimal risk."""
    figure = new_figure(9.6, 4.0)
    plane, diagonal = figure.subplots(1, 2)
    points, coupling = tables["points"], tables["coupling"]
    for start_x, start_y, end_x, end_y in zip(
        *(coupling[k] for k in ("from_x", "from_y", "to_x", "to_y")), strict=True
    ):
        plane.plot([start_x, end_x], [start_y, end_y], color=GREY, linewidth=1.5, zorder=1)
    for label, colour, mark in ((0, BLUE, "o"), (1, VERMILION, "s")):
        chosen = [k for k, other in enumerate(points["label"]) if other == label]
        where = ([points[axis][k] for k in chosen] for axis in ("x", "y"))
        plane.scatter(*where, color=colour, marker=mark, s=40, label=f"class {label}", zorder=2, alpha=0.8)
    plane.set(aspect="equal", xlabel="first coordinate", ylabel="second coordinate")
    plane.set_title(f"An optimal coupling at radius {RADIUS:g} (linf): the pairs merged", fontsize=10)
    plane.legend(frameon=False, fontsize=SMALL, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    problems = tables["problems"]
    diagonal.plot([0, 0.5], [0, 0.5], color=GREY, linewidth=0.8, linestyle="--")
    diagonal.scatter(problems["transport"], problems["optimal"], color=BLACK, s=18, alpha=0.5)
    diagonal.set(xlabel="(1 − D)/2 by a linear program", ylabel="optimal risk by a maximum flow")
    diagonal.set_title(f"{PROBLEMS} random problems", fontsize=10)
    return figure


ITEM = Item(
    name="transport",
    section="17.6.5",
    title="Optimal risk and optimal transport",
    claims=(
        Claim(
            name="equality",
            says="The least adversarial risk over all measurable classifiers is (1 - D)/2 (17.6.5).",
            criterion=f"Over {PROBLEMS} random problems with touching balls the two agree to 1e-9.",
            decide=_equal,
        ),
        Claim(
            name="inequality",
            says="L* >= (1 - D)/2 (17.6.6).",
            criterion="As above: over all measurable classifiers it is an equality.",
            decide=_equal,
            truth="An equality over all measurable classifiers for equal priors; >= holds for a restricted class.",
        ),
        Claim(
            name="merged",
            says="If D = 0 the classes cannot be told apart robustly.",
            criterion="Where all balls meet, the optimal risk is 1/2 in every problem.",
            decide=_merged,
        ),
    ),
    measure=measure,
    draw=draw,
)
