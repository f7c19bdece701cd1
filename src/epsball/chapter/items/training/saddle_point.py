"""17.1 and eq. (1): the saddle point with PGD, in linf and in l2."""

from typing import TYPE_CHECKING

import numpy as np

from epsball.attacks.losses import cross_entropy
from epsball.chapter.claim import Claim, Decision, Tables
from epsball.chapter.evidence import Order, pattern
from epsball.chapter.item import Item
from epsball.chapter.items.columns import SEARCH, right, stands
from epsball.chapter.items.drawing import draw_shares
from epsball.chapter.laboratory import Laboratory
from epsball.chapter.networks import PGD
from epsball.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAINED = {"standard": "standard training", PGD: "PGD training, linf", "pgd-l2": "PGD training, l2"}


def measure(laboratory: Laboratory) -> Tables:
    """Return which test examples each network gets right and which stand, in linf and in l2, and its losses."""
    examples = laboratory.examples(laboratory.subject, first=laboratory.pick(fast=None, default=2000))
    table: dict[str, list[bool]] = {}
    losses: dict[str, list[float]] = {}
    for name in TRAINED:
        network = laboratory.network(name)
        table[f"{name}.right"] = right(network, examples)
        for norm in ("linf", "l2"):
            table[f"{name}.{norm}"] = stands(network, examples, laboratory.ball(norm), SEARCH, seed=laboratory.seed)
        x, y = examples
        losses[name] = cross_entropy(network.logits(x), y).tolist()
    return {"examples": table, "losses": losses}


def _effective(tables: Tables) -> Decision:
    rows = tables["examples"]
    return pattern(
        Order(greater=rows[f"{PGD}.linf"], less=rows["standard.linf"], names=("linf: PGD-trained", "standard")),
        Order(greater=rows["pgd-l2.l2"], less=rows["standard.l2"], names=("l2: PGD-trained", "standard")),
        otherwise="The training may be too short, or the radius too small, at this size.",
    )


def _maximum(tables: Tables) -> Decision:
    rows = tables["examples"]
    worst = {name: 1 - min(map(int, rows[f"{name}.linf"])) for name in ("standard", PGD)}
    mean = {name: 1.0 - float(np.mean(np.asarray(rows[f"{name}.linf"], dtype=float))) for name in ("standard", PGD)}
    order = Order(greater=rows[f"{PGD}.linf"], less=rows["standard.linf"], names=("stands: PGD-trained", "standard"))
    if order.holds and len(set(worst.values())) == 1:
        return Decision(
            verdict="false as stated",
            sentence=(
                f"the 0-1 loss, maximised over examples as eq. (1) is printed, is {worst['standard']} for the standard "
                f"and {worst[PGD]} for the PGD-trained network; its mean, the expectation, is {mean['standard']:.3f} "
                f"and {mean[PGD]:.3f}."
            ),
        )
    return Decision(
        verdict="differs", sentence=f"the maxima over examples are {worst}; {order}. One network has no error."
    )


def draw(tables: Tables) -> "Figure":
    """Return the shares of both norms."""
    figure = new_figure(9.6, 3.2)
    for axes, norm in zip(figure.subplots(1, 2, sharey=True), ("linf", "l2"), strict=True):
        shown = {words: tables["examples"][f"{name}.{norm}"] for name, words in TRAINED.items()}
        draw_shares(axes, shown, f"accuracy under PGD-20, {norm}")
    return figure


ITEM = Item(
    name="saddle-point",
    section="17.1",
    title="The saddle point, solved by PGD",
    claims=(
        Claim(
            name="effective",
            says="Training on PGD's points gives strong empirical robustness against the attack used for it.",
            criterion="In each norm more examples stand with the network trained for it than with the standard one.",
            decide=_effective,
            source="Madry et al. (2018): CIFAR-10 at 8/255, 45.8% under PGD-20 against 0 to 3.5% without.",
        ),
        Claim(
            name="outer-maximum",
            says="Eq. (1) minimises a maximum over (x, y) ~ P.",
            criterion="False if the maximum is the same for two networks of which one is clearly more robust.",
            decide=_maximum,
            truth="The outer operator is the expectation over (x, y): E[max over N(x) of the loss].",
        ),
    ),
    measure=measure,
    draw=draw,
    networks=tuple(TRAINED),
)
