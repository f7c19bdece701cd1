"""17.4.2: constants, intervals and programs on one network: radius against certified accuracy, and cost."""

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from epsball.ball import Ball
from epsball.certificates import certify
from epsball.chapter.claim import Claim, Decision, Tables
from epsball.chapter.evidence import Order, pattern
from epsball.chapter.item import Item
from epsball.chapter.laboratory import Laboratory
from epsball.figures import BLACK, SMALL, line_style, marker, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHODS = ("interval", "lipschitz", "wong-kolter", "crown", "alpha-crown", "lp")
SHARES = (0.25, 0.5, 0.75, 1.0, 1.5)
"""Radii, in that of the ball the network is trained for."""

INNER = (
    "alpha-CROWN optimises slopes of inner layers too, where the linear program takes their bounds as CROWN has them."
)
DUAL = "sdp"
"""The semidefinite relaxation: by the library's own Newton steps on its dual, without a package of solvers."""


def measure(laboratory: Laboratory) -> Tables:
    """Return margins and CPU seconds of each method on each example at each radius; of the dual on the first ones."""
    x, y = laboratory.examples(laboratory.subject, first=laboratory.pick(fast=20, default=100))
    network, ball = laboratory.network("ibp"), laboratory.ball()
    few = laboratory.pick(fast=8, default=16)  # an example takes some hundred times as long as with the linear program
    margins: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    certified: dict[str, list[bool]] = {}
    dual: dict[str, list[float]] = {}
    for share in SHARES:
        at = Ball(ball.norm, float(ball.radius) * share)
        found = certify(network, x[:few], y[:few], at, method=DUAL, semantics="real")
        for column in ("margin", "seconds", "certified"):
            dual[f"{column}.{share:g}"] = getattr(found, column).tolist()
        for method in METHODS:
            found = certify(network, x, y, at, method=method, semantics="real")
            margins[f"{method}.{share:g}"] = found.margin.tolist()
            seconds[f"{method}.{share:g}"] = found.seconds.tolist()
            certified[f"{method}.{share:g}"] = found.certified.tolist()
    return {"margins": margins, "seconds": seconds, "certified": certified, "semidefinite": dual}


def _ordered(tables: Tables) -> Decision:
    rows = {name: np.asarray(column, dtype=float) for name, column in tables["margins"].items()}
    chain = ("crown", "alpha-crown", "lp")
    exceptions = [
        f"{weak} above {tight} at {share:g} by {worst:.2g}"
        for share in SHARES
        for weak, tight in (*pairwise(chain), ("wong-kolter", "lp"))
        if (worst := float(np.nanmax(rows[f"{weak}.{share:g}"] - rows[f"{tight}.{share:g}"]))) > 1e-6
    ]
    if exceptions:
        return Decision(verdict="differs", sentence="; ".join(exceptions) + ". " + INNER)
    return Decision(
        verdict="pattern",
        sentence="CROWN <= alpha-CROWN <= LP and Wong-Kolter <= LP on every example at all radii.",
    )


def _conservative(tables: Tables) -> Decision:
    rows, seconds = tables["margins"], tables["seconds"]
    at = f"{SHARES[-2]:g}"
    return pattern(
        Order(greater=rows[f"lp.{at}"], less=rows[f"interval.{at}"], names=("bound of the margin: LP", "intervals")),
        Order(greater=seconds[f"lp.{at}"], less=seconds[f"interval.{at}"], names=("CPU seconds: LP", "intervals")),
        otherwise="This network was trained for intervals.",
    )


def _semidefinite(tables: Tables) -> Decision:
    at = f"{SHARES[-2]:g}"
    dual = tables["semidefinite"]
    few = len(dual[f"margin.{at}"])
    margin, seconds = (tables[name][f"lp.{at}"][:few] for name in ("margins", "seconds"))
    return pattern(
        Order(greater=dual[f"margin.{at}"], less=margin, names=("bound of the margin: SDP", "LP")),
        Order(greater=dual[f"seconds.{at}"], less=seconds, names=("CPU seconds: SDP", "LP")),
        otherwise="Where hardly a neuron is undecided, the linear program is already exact.",
    )


def _lipschitz(tables: Tables) -> Decision:
    rows = tables["certified"]
    first = f"lipschitz.{SHARES[0]:g}"
    count = int(np.sum(np.asarray(rows[first], dtype=bool)))
    verdict = "pattern" if count else "differs"
    why = (
        ""
        if count
        else ": constants multiplied over the layers grow faster than the margins of a network not trained for them"
    )
    return Decision(
        verdict=verdict,
        sentence=f"at {SHARES[0]:g} of the radius constants certify {count} of {len(rows[first])} examples{why}.",
    )


def draw(tables: Tables) -> "Figure":
    """Return certified accuracy over the radius, and what it costs at the whole radius."""
    figure = new_figure(9.6, 4.2)
    over, cost = figure.subplots(1, 2)
    dual = tables["semidefinite"]
    certified = {name: {s: tables["certified"][f"{name}.{s:g}"] for s in SHARES} for name in METHODS}
    seconds = {name: tables["seconds"][f"{name}.1"] for name in METHODS}
    few = f"{DUAL}, of the first {len(dual['seconds.1'])}"
    certified[few], seconds[few] = {s: dual[f"certified.{s:g}"] for s in SHARES}, dual["seconds.1"]
    for number, name in enumerate(certified):
        other = {"color": BLACK, "linestyle": ":"} if name == few else line_style(number)
        mark = "x" if name == few else marker(number)
        beside = [share + 0.012 * (number - 3) for share in SHARES]  # so that no curve hides another
        shares = [float(np.mean(np.asarray(column, dtype=bool))) for column in certified[name].values()]
        over.plot(beside, shares, **other, marker=mark, markersize=5, label=name)
        spent = float(np.mean(np.asarray(seconds[name], dtype=float)))
        reached = float(np.mean(np.asarray(certified[name][1.0], dtype=bool)))
        cost.plot(spent, reached, mark, color=other["color"], markersize=8, label=name)
    count = len(tables["certified"]["lp.1"])
    over.set(xlabel="radius, in the radius of the ball (linf)", ylabel=f"certified accuracy of {count} examples")
    over.set_ylim(-0.02, 1.02)
    over.spines[["top", "right"]].set_visible(False)
    over.legend(frameon=False, fontsize=SMALL)
    cost.set(
        xscale="log", xlabel="CPU seconds per example", ylabel="certified accuracy at the radius", ylim=(-0.02, 1.02)
    )
    cost.spines[["top", "right"]].set_visible(False)
    return figure


ITEM = Item(
    name="bounds",
    section="17.4.2",
    title="Methods of certification on one network",
    claims=(
        Claim(
            name="order",
            says="Tighter relaxations give tighter bounds.",
            criterion="CROWN <= alpha-CROWN <= LP and Wong-Kolter <= LP on every example, to 1e-6, in real arithmetic.",
            decide=_ordered,
        ),
        Claim(
            name="intervals",
            says="Interval bounds are conservative but efficient.",
            criterion="LP bounds are higher and cost more (sign tests).",
            decide=_conservative,
        ),
        Claim(
            name="semidefinite",
            says="By linear or semidefinite programs over relaxations of the polytope one obtains guaranteed bounds.",
            criterion="Bounds by the semidefinite relaxation are higher than the linear program's and cost more (sign "
            "tests).",
            decide=_semidefinite,
        ),
        Claim(
            name="lipschitz",
            says="Lipschitz constants give certificates.",
            criterion=f"They certify an example at {SHARES[0]:g} of the radius.",
            decide=_lipschitz,
        ),
    ),
    measure=measure,
    draw=draw,
    networks=("ibp",),
)
