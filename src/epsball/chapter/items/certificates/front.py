"""17.4.4: what certified training costs in natural accuracy."""

from typing import TYPE_CHECKING

import numpy as np

from epsball.certificates import certify
from epsball.chapter.claim import Claim, Decision, Tables
from epsball.chapter.evidence import Order, pattern
from epsball.chapter.item import Item
from epsball.chapter.items.columns import right, stands
from epsball.chapter.items.drawing import with_interval
from epsball.chapter.laboratory import Laboratory
from epsball.chapter.networks import PGD
from epsball.figures import GREEN, GREY, SMALL, VERMILION, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FRONT = (PGD, "trades-6", "wsmk18", "ibp")
"""Two trained on points of the ball, and two on bounds: of a polytope, and of intervals."""


def measure(laboratory: Laboratory) -> Tables:
    """Return which examples each network gets right, which stand, and which are certified."""
    examples = laboratory.examples(laboratory.subject, first=laboratory.pick(fast=200, default=1000))
    rows: dict[str, list[bool]] = {}
    for name in FRONT:
        network, ball = laboratory.network(name), laboratory.ball()
        rows[f"{name}.right"] = right(network, examples)
        rows[f"{name}.stands"] = stands(network, examples, ball, seed=laboratory.seed)
        rows[f"{name}.certified"] = certify(network, *examples, ball, method="crown").certified.tolist()
    return {"examples": rows}


def _front(tables: Tables) -> Decision:
    rows = tables["examples"]
    return pattern(
        Order(
            greater=rows["ibp.certified"],
            less=rows[f"{PGD}.certified"],
            names=("certified: IBP-trained", "PGD-trained"),
        ),
        Order(greater=rows[f"{PGD}.right"], less=rows["ibp.right"], names=("right: PGD-trained", "IBP-trained")),
        otherwise="What a proof costs in natural accuracy is small on this data; more examples are needed to show it.",
    )


def draw(tables: Tables) -> "Figure":
    """Return attacked and certified over natural accuracy."""
    figure = new_figure(6.0, 4.2)
    axes, rows = figure.subplots(), tables["examples"]
    for name in FRONT:
        natural, attacked, certified = (with_interval(rows[f"{name}.{c}"]) for c in ("right", "stands", "certified"))
        axes.plot([natural[0]] * 2, [certified[0], attacked[0]], color=GREY, linewidth=3, alpha=0.35, zorder=1)
        for (value, low, high), mark, colour in ((attacked, "o", VERMILION), (certified, "v", GREEN)):
            axes.errorbar(natural[0], value, yerr=[[low], [high]], fmt=mark, color=colour, capsize=3)
        axes.annotate(name, (natural[0], certified[0]), (7, 0), textcoords="offset points", va="center", fontsize=SMALL)
    axes.plot([], [], "o", color=VERMILION, label="under PGD-20")
    axes.plot([], [], "v", color=GREEN, label="certified")
    axes.set(xlabel="natural accuracy", ylabel="robust accuracy lies between", ylim=(0.0, 1.0))
    natural = [float(np.mean(np.asarray(rows[f"{name}.right"], dtype=float))) for name in FRONT]
    room = 0.25 * (max(natural) - min(natural)) + 0.005
    axes.set_xlim(max(0.0, min(natural) - room), min(1.0, max(natural) + room))
    axes.legend(frameon=False, loc="lower left")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


ITEM = Item(
    name="certified-front",
    section="17.4.4",
    title="Certified against natural accuracy",
    claims=(
        Claim(
            name="front",
            says="Certified defences face practical limits: what is gained in proof is paid in accuracy.",
            criterion="More is certified, and less is right, after IBP than after PGD training (McNemar).",
            decide=_front,
        ),
    ),
    measure=measure,
    draw=draw,
    networks=FRONT,
)
