"""Figure 17.1: slices of the loss of a network trained in one step, and of one trained by PGD."""

from typing import TYPE_CHECKING

import numpy as np

from epsball.chapter.claim import Claim, Decision, Tables
from epsball.chapter.evidence import Order, pattern
from epsball.chapter.item import Item
from epsball.chapter.laboratory import Laboratory
from epsball.chapter.networks import PGD
from epsball.figures import BLACK, SEQUENTIAL, new_figure
from epsball.masking.landscape import landscape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NETWORKS = {"fgsm": "trained by FGSM", PGD: "trained by PGD"}
POINTS = 41


def measure(laboratory: Laboratory) -> Tables:
    """Return the numbers of the landscapes of both networks, and the map of the example of largest gamma."""
    x, y = laboratory.examples(laboratory.subject, first=laboratory.pick(fast=100, default=300))
    rows: dict[str, list[float]] = {}
    maps: dict[str, list[float]] = {}
    chosen = None
    for name in NETWORKS:
        network, ball = laboratory.network(name), laboratory.ball()
        found = landscape(network, x, y, ball, directions=("gradient", "random"), points=3, seed=laboratory.seed)
        numbers = found.numbers["cross-entropy"]
        for column in ("change", "first", "gamma", "curvature", "cosine"):
            rows[f"{name}.{column}"] = getattr(numbers, column).tolist()
        if chosen is None:
            chosen = int(numbers.gamma.nan_to_num(-1.0).argmax())
        one = slice(chosen, chosen + 1)
        shown = landscape(
            network, x[one], y[one], ball, directions=("gradient", "random"), points=POINTS, seed=laboratory.seed
        )
        maps[name] = shown.loss[0].flatten().tolist()
    return {"numbers": rows, "maps": maps}


def _curved(tables: Tables) -> Decision:
    rows = tables["numbers"]
    return pattern(
        *(
            Order(greater=rows[f"fgsm.{c}"], less=rows[f"{PGD}.{c}"], names=(f"{c}: FGSM-trained", "PGD-trained"))
            for c in ("gamma", "curvature")
        ),
        otherwise="One-step training has not collapsed at this radius and length.",
    )


def _linear(tables: Tables) -> Decision:
    rows = tables["numbers"]
    errors = {
        name: np.abs(np.subtract(*(np.asarray(rows[f"{name}.{c}"], dtype=float) for c in ("change", "first")))).tolist()
        for name in NETWORKS
    }
    return pattern(
        Order(
            greater=errors["fgsm"],
            less=errors[PGD],
            names=("first-order error of FGSM's step: FGSM-trained", "PGD-trained"),
        ),
        otherwise="One-step training has not collapsed at this radius and length.",
    )


def draw(tables: Tables) -> "Figure":
    """Return the surfaces of both networks around one example on one scale."""
    figure = new_figure(9.6, 4.4)
    axis = np.linspace(-1.5, 1.5, POINTS)
    grid = {name: np.asarray(column, dtype=float).reshape(POINTS, POINTS) for name, column in tables["maps"].items()}
    top = max(float(np.nanmax(values)) for values in grid.values())
    panels = figure.subplots(1, 2, subplot_kw={"projection": "3d"})
    for axes, (name, words) in zip(panels, NETWORKS.items(), strict=True):
        first, second = np.meshgrid(axis, axis, indexing="ij")
        axes.plot_surface(first, second, grid[name], cmap=SEQUENTIAL, vmin=0.0, vmax=top, linewidth=0, antialiased=True)
        axes.set(
            xlabel="sign of the gradient (radii)", ylabel="random (radii)", zlabel="cross-entropy", zlim=(0.0, top)
        )
        axes.set_title(words, fontsize=11, color=BLACK)
    return figure


ITEM = Item(
    name="figure-17.1",
    section="17.2.2",
    title="Slices of the loss",
    claims=(
        Claim(
            name="curvature",
            says="An adversarially trained network may show highly curved regions near adversarial examples.",
            criterion="Gamma and curvature are larger after one-step than after PGD training (sign tests).",
            decide=_curved,
            truth="It is what training in a single step does; training in several steps lowers the curvature.",
        ),
        Claim(
            name="first-order",
            says="For robust behaviour the loss rises smoothly in the adversarial direction.",
            criterion="The first-order term is nearer to the true change after PGD training (sign test).",
            decide=_linear,
        ),
    ),
    measure=measure,
    draw=draw,
    networks=tuple(NETWORKS),
)
