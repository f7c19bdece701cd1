"""17.1.3: what stands under attack is not proved."""

from typing import TYPE_CHECKING

import numpy as np

from epsball.certificates import certify
from epsball.chapter.claim import Claim, Decision, Tables
from epsball.chapter.evidence import Order, pattern, share, without_exception
from epsball.chapter.item import Item
from epsball.chapter.items.columns import right, stands
from epsball.chapter.items.drawing import draw_shares
from epsball.chapter.laboratory import Laboratory
from epsball.chapter.networks import PGD
from epsball.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NETWORKS = {PGD: "PGD training", "ibp": "IBP training"}


def measure(laboratory: Laboratory) -> Tables:
    """Return which examples are right, stand under the ensemble of attacks, and are certified."""
    examples = laboratory.examples(laboratory.subject, first=laboratory.pick(fast=100, default=500))
    table: dict[str, list[bool]] = {}
    for name in NETWORKS:
        network, ball = laboratory.network(name), laboratory.ball()
        table[f"{name}.natural"] = right(network, examples)
        table[f"{name}.attack"] = stands(network, examples, ball, "ensemble", seed=laboratory.seed)
        table[f"{name}.certified"] = certify(network, *examples, ball, method="crown").certified.tolist()
    return {"examples": table}


def _gap(tables: Tables) -> Decision:
    rows = tables["examples"]
    attacked, certified = rows[f"{PGD}.attack"], rows[f"{PGD}.certified"]
    return pattern(
        Order(greater=attacked, less=certified, names=("PGD-trained: stands under attack", "certified")),
        otherwise=f"Under attack {share(attacked)}, certified {share(certified)}: few are left undecided.",
    )


def _trained_for(tables: Tables) -> Decision:
    rows = tables["examples"]
    return pattern(
        Order(
            greater=rows["ibp.certified"],
            less=rows[f"{PGD}.certified"],
            names=("certified: IBP-trained", "PGD-trained"),
        ),
        otherwise="The bound certifies the PGD-trained network too.",
    )


def _chain(tables: Tables) -> Decision:
    rows, exceptions = tables["examples"], []
    for name in NETWORKS:
        attacked, certified = (np.asarray(rows[f"{name}.{place}"], dtype=bool) for place in ("attack", "certified"))
        exceptions += [f"{name}: example {k}" for k in np.flatnonzero(certified & ~attacked)]
    return without_exception(exceptions, len(NETWORKS) * len(rows[f"{PGD}.attack"]), "nothing certified was broken")


def draw(tables: Tables) -> "Figure":
    """Return the chain of both networks."""
    figure = new_figure(9.6, 2.8)
    places = {"natural": "natural accuracy", "attack": "under attack", "certified": "certified"}
    for axes, (name, words) in zip(figure.subplots(1, 2, sharey=True), NETWORKS.items(), strict=True):
        draw_shares(axes, {label: tables["examples"][f"{name}.{place}"] for place, label in places.items()}, words)
    return figure


ITEM = Item(
    name="guarantees",
    section="17.1.3",
    title="Standing under attack is not a guarantee",
    claims=(
        Claim(
            name="gap",
            says="Adversarial training gives no certified guarantee.",
            criterion="Of the PGD-trained network more examples stand under attack than CROWN certifies.",
            decide=_gap,
        ),
        Claim(
            name="trained-for",
            says="A guarantee takes a method that computes bounds.",
            criterion="More examples are certified of the network trained by IBP.",
            decide=_trained_for,
        ),
        Claim(
            name="chain",
            says="No adversarial example lies in a certified ball (17.4.3).",
            criterion="No example is both certified and broken.",
            decide=_chain,
        ),
    ),
    measure=measure,
    draw=draw,
    networks=tuple(NETWORKS),
)
