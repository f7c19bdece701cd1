"""17.3.2: the trade-off that beta controls."""

from typing import TYPE_CHECKING

from epsball.chapter.claim import Claim, Decision, Tables
from epsball.chapter.evidence import Order, pattern
from epsball.chapter.item import Item
from epsball.chapter.items.columns import accuracies
from epsball.chapter.items.drawing import draw_share_curves
from epsball.chapter.laboratory import Laboratory
from epsball.chapter.networks import BETAS
from epsball.figures import SMALL, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NETWORKS = tuple(f"trades-{beta:g}" for beta in BETAS)
ZERO = 0.2
"""Where beta 0 stands on the logarithmic axis."""


def measure(laboratory: Laboratory) -> Tables:
    """Return which examples each network gets right, and which stand under PGD-20."""
    return {"examples": accuracies(laboratory, ("standard", *NETWORKS))}


def _robust(tables: Tables) -> Decision:
    rows = tables["examples"]
    first, last = NETWORKS[0], NETWORKS[-2]
    return pattern(
        Order(greater=rows[f"{last}.stands"], less=rows["standard.stands"], names=(f"stands: {last}", "standard")),
        Order(greater=rows[f"{last}.stands"], less=rows[f"{first}.stands"], names=(f"stands: {last}", first)),
        otherwise="On this data a small beta already buys nearly all the robustness that there is.",
    )


def _natural(tables: Tables) -> Decision:
    rows = tables["examples"]
    first, last = NETWORKS[0], NETWORKS[-1]
    return pattern(
        Order(greater=rows[f"{first}.right"], less=rows[f"{last}.right"], names=(f"right: {first}", last)),
        otherwise="On this data natural accuracy hardly falls with beta.",
    )


def draw(tables: Tables) -> "Figure":
    """Return both accuracies over beta."""
    figure = new_figure(5.8, 3.8)
    axes, rows = figure.subplots(), tables["examples"]
    names, places = ("standard", *NETWORKS), (ZERO, *BETAS)
    draw_share_curves(
        axes,
        places,
        {
            "natural accuracy": [rows[f"{name}.right"] for name in names],
            "under PGD-20": [rows[f"{name}.stands"] for name in names],
        },
    )
    axes.set(
        xscale="log",
        xticks=places,
        xticklabels=["0", *(f"{beta:g}" for beta in BETAS)],
        xlabel="beta = 1/lambda (0: standard training)",
        ylabel="accuracy",
    )
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize=SMALL, loc="lower left")
    return figure


ITEM = Item(
    name="beta",
    section="17.3.2",
    title="The trade-off over beta",
    claims=(
        Claim(
            name="robustness",
            says="A larger beta emphasises robustness.",
            criterion=f"More examples stand at beta {BETAS[-2]:g} than at {BETAS[0]:g} and after standard training.",
            decide=_robust,
        ),
        Claim(
            name="accuracy",
            says="Beta trades accuracy against robustness.",
            criterion=f"Fewer examples are right at beta {BETAS[-1]:g} than at {BETAS[0]:g} (McNemar).",
            decide=_natural,
        ),
    ),
    measure=measure,
    draw=draw,
    networks=("standard", *NETWORKS),
)
