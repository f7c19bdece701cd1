"""17.6.1: the three quantities of learning under an adversary."""

from typing import TYPE_CHECKING

import torch

from epsball.certificates import certify
from epsball.chapter.claim import Claim, Decision, Tables
from epsball.chapter.item import Item
from epsball.chapter.items.columns import Examples, right, stands
from epsball.chapter.laboratory import Laboratory
from epsball.classifier import Classifier
from epsball.figures import BLUE, GREY, VERMILION, new_figure
from epsball.limits import optimal_risk
from epsball.risk import Bracket, decompose, three_quantities
from epsball.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NETWORKS = ("pgd-5", "ibp")


def measure(laboratory: Laboratory) -> Tables:
    """Return gap, excess and optimal risk of two networks as intervals, from witnesses and certificates."""
    count = laboratory.pick(fast=300, default=1000)
    train, test = (laboratory.examples(laboratory.subject, split, count) for split in ("train", "test"))
    ball = laboratory.ball()
    data_limit = optimal_risk(*train, norm=ball.norm, radii=[ball.radius]).at(ball.radius)
    low = data_limit.distribution.value
    table: dict[str, list[float | str]] = {"network": [], "quantity": [], "low": [], "high": []}
    for name in NETWORKS:
        network = laboratory.network(name)
        brackets = [_robust(network, part, laboratory) for part in (train, test)]
        found = three_quantities(*brackets, optimal=Interval(min(low, 1.0), 1.0))
        for quantity in ("gap", "excess", "optimal"):
            interval: Interval = getattr(found, quantity)
            for column, value in zip(table.values(), (name, quantity, interval.low, interval.high), strict=True):
                column.append(value)
    return {"quantities": table, "sample": {"optimal": [data_limit.risk.value], "examples": [count]}}


def _robust(network: Classifier, examples: Examples, laboratory: Laboratory) -> Bracket:
    """Return the robust risk between witnesses and certificates."""
    ball = laboratory.ball()
    standing = torch.tensor(stands(network, examples, ball, seed=laboratory.seed))
    certified = certify(network, *examples, ball, method="crown").certified
    return decompose(torch.tensor(right(network, examples)), ~standing, certified, confidence=0.983).robust


def _bracketed(tables: Tables) -> Decision:
    rows = tables["quantities"]
    said = [
        f"{name} {quantity} in [{low:.3f}, {high:.3f}]"
        for name, quantity, low, high in zip(*(rows[c] for c in ("network", "quantity", "low", "high")), strict=True)
    ]
    widths = [high - low for high, low in zip(rows["high"], rows["low"], strict=True)]
    if max(widths[len(NETWORKS[:1]) * 3 :]) < 1.0:
        return Decision(verdict="pattern", sentence="; ".join(said) + ".")
    why = "Without certificates, or with few examples, an interval reaches over everything that is possible."
    return Decision(verdict="differs", sentence=f"{'; '.join(said)}. {why}")


def draw(tables: Tables) -> "Figure":
    """Return the intervals."""
    figure = new_figure(6.8, 3.0)
    axes, rows = figure.subplots(), tables["quantities"]
    colours = {"gap": BLUE, "excess": VERMILION, "optimal": GREY}
    lines = list(zip(*(rows[c] for c in ("network", "quantity", "low", "high")), strict=True))
    for place, (_, quantity, low, high) in enumerate(lines):
        axes.barh(place, high - low, left=low, color=colours[quantity], height=0.6, alpha=0.7)
    axes.set(yticks=range(len(lines)), yticklabels=[f"{name}: {quantity}" for name, quantity, *_ in lines])
    axes.axvline(0.0, color=GREY, linewidth=0.8)
    ends = min(rows["low"]), max(rows["high"])
    axes.set(xlabel="risk (95% together, for the source of the data)", xlim=(ends[0] - 0.05, ends[1] + 0.05))
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    return figure


ITEM = Item(
    name="three-quantities",
    section="17.6.1",
    title="Generalisation gap, excess risk, optimal risk",
    claims=(
        Claim(
            name="bracketed",
            says="Learning under an adversary has an optimisation error, a generalisation gap and an optimal risk.",
            criterion="Of the network trained for its proof each is an interval narrower than the trivial one.",
            decide=_bracketed,
            truth="None is observable: witnesses bound robust risks from below, certificates from above. What 17.6.1 "
            "calls optimisation error is the excess risk over the class.",
        ),
    ),
    measure=measure,
    draw=draw,
    networks=NETWORKS,
)
