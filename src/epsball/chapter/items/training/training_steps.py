"""17.1.1 and 17.1.3: robustness against the number of steps in training."""

from typing import TYPE_CHECKING

from epsball.chapter.claim import Claim, Decision, Tables
from epsball.chapter.evidence import Order, pattern
from epsball.chapter.item import Item
from epsball.chapter.items.columns import accuracies
from epsball.chapter.items.drawing import draw_share_curves
from epsball.chapter.laboratory import Laboratory
from epsball.chapter.networks import KS
from epsball.figures import SMALL, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NETWORKS = tuple(f"pgd-{k}" for k in KS)


def measure(laboratory: Laboratory) -> Tables:
    """Return which examples each network gets right, and which stand under 20 steps."""
    return {"examples": accuracies(laboratory, ("standard", *NETWORKS))}


def _effective(tables: Tables) -> Decision:
    rows = tables["examples"]
    orders = [
        Order(greater=rows[f"{name}.stands"], less=rows["standard.stands"], names=(f"stands: {name}", "standard"))
        for name in NETWORKS[1:]
    ]
    return pattern(*orders, otherwise="The training may be too short at this size.")


def _quality(tables: Tables) -> Decision:
    rows = tables["examples"]
    first, last = NETWORKS[0], NETWORKS[-1]
    return pattern(
        Order(greater=rows[f"{last}.stands"], less=rows[f"{first}.stands"], names=(f"stands: {last}", first)),
        otherwise="From a random start one step comes close on a small network; it would take a larger radius or "
        "more examples to show more.",
    )


def draw(tables: Tables) -> "Figure":
    """Return natural accuracy and accuracy under attack over K."""
    figure = new_figure(5.6, 3.8)
    axes, rows = figure.subplots(), tables["examples"]
    names = ("standard", *NETWORKS)
    draw_share_curves(
        axes,
        range(len(names)),
        {"natural": [rows[f"{n}.right"] for n in names], "under PGD-20": [rows[f"{n}.stands"] for n in names]},
    )
    axes.set(xticks=range(len(names)), xticklabels=("none", *KS), xlabel="steps K in training", ylabel="accuracy")
    axes.legend(frameon=False, fontsize=SMALL, loc="lower right")
    return figure


ITEM = Item(
    name="training-steps",
    section="17.1.3",
    title="Robustness against the steps in training",
    claims=(
        Claim(
            name="effective",
            says="Adversarial training is effective when the inner maximisation is solved to sufficient accuracy.",
            criterion="With several steps, more examples stand than with standard training.",
            decide=_effective,
        ),
        Claim(
            name="quality",
            says="The quality of the approximation depends on K.",
            criterion=f"More examples stand after training with {KS[-1]} steps than with {KS[0]}, by McNemar's test.",
            decide=_quality,
        ),
    ),
    measure=measure,
    draw=draw,
    networks=("standard", *NETWORKS),
)
