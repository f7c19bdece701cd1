"""17.1.3: what robustness in one ball says about another."""

from typing import TYPE_CHECKING

import numpy as np

from epsball.chapter.claim import Claim, Decision, Tables
from epsball.chapter.evidence import Order, pattern
from epsball.chapter.item import Item
from epsball.chapter.items.columns import stands
from epsball.chapter.laboratory import Laboratory
from epsball.chapter.networks import PGD
from epsball.figures import SEQUENTIAL, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NORMS = ("linf", "l2", "l1")
TRAINED = {"standard": "standard", PGD: "PGD, linf", "pgd-l2": "PGD, l2", "pgd-l1": "PGD, l1"}
ATTACKS = {"pgd": "pgd,steps=20,restarts=2", "apgd-t": "apgd-t,steps=20", "square": "square,queries=500"}
"""PGD, of the family trained against, and two that no network was trained against."""


def measure(laboratory: Laboratory) -> Tables:
    """Return which examples stand, for each network in each ball, and for the linf one under each attack."""
    examples = laboratory.examples(laboratory.subject, first=laboratory.pick(fast=300, default=1000))
    table: dict[str, list[bool]] = {}
    for name in TRAINED:
        network = laboratory.network(name)
        for norm in NORMS:
            table[f"{name}.{norm}"] = stands(network, examples, laboratory.ball(norm), seed=laboratory.seed)
        each = [np.asarray(table[f"{name}.{norm}"]) for norm in NORMS]
        table[f"{name}.union"] = np.logical_and.reduce(each).tolist()
    for attack, method in ATTACKS.items():
        found = stands(laboratory.network(PGD), examples, laboratory.ball(), method, seed=laboratory.seed)
        table[f"attack.{attack}"] = found
    return {"examples": table}


def _elsewhere(tables: Tables) -> Decision:
    rows = tables["examples"]
    own = {"linf": PGD, "l2": "pgd-l2", "l1": "pgd-l1"}
    orders = [
        Order(greater=rows[f"{name}.{norm}"], less=rows[f"{name}.union"], names=(f"{name}: {norm}", "all three"))
        for norm, name in own.items()
    ]
    return pattern(*orders, otherwise="At these radii one ball holds most of the others' witnesses.")


def _attacks(tables: Tables) -> Decision:
    rows = tables["examples"]
    return pattern(
        Order(
            greater=rows["attack.pgd"], less=rows["attack.apgd-t"], names=("stands under PGD-20", "under targeted APGD")
        ),
        otherwise="PGD-20 already finds nearly all that targeted APGD finds on this network.",
    )


def draw(tables: Tables) -> "Figure":
    """Return the table of networks against balls."""
    columns = (*NORMS, "union")
    shares = np.array([[np.mean(tables["examples"][f"{name}.{norm}"]) for norm in columns] for name in TRAINED])
    figure = new_figure(5.8, 3.8)
    axes = figure.subplots()
    drawn = axes.imshow(shares, cmap=SEQUENTIAL, vmin=0.0, vmax=1.0, aspect="auto")
    for (row, column), value in np.ndenumerate(shares):
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.6 else "black")
    axes.set(
        xticks=range(len(columns)),
        xticklabels=("linf", "l2", "l1", "all three"),
        yticks=range(len(TRAINED)),
        yticklabels=TRAINED.values(),
        xlabel="ball of the attack (PGD-20)",
        ylabel="trained",
    )
    figure.colorbar(drawn, label="accuracy under attack")
    return figure


ITEM = Item(
    name="threats",
    section="17.1.3",
    title="Other balls and other attacks",
    claims=(
        Claim(
            name="balls",
            says="Robustness may not generalise to other perturbation sets.",
            criterion="Of each network fewer examples stand in all three balls together than in its own.",
            decide=_elsewhere,
        ),
        Claim(
            name="attacks",
            says="Robustness may not generalise to other attack models.",
            criterion="Fewer examples stand under targeted APGD than under PGD-20, by McNemar's test.",
            decide=_attacks,
        ),
    ),
    measure=measure,
    draw=draw,
    networks=tuple(TRAINED),
)
