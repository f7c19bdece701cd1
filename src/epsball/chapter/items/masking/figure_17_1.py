"""Figure 17.1: slices of the loss of a network trained in one step, and of one trained by PGD."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from epsball.ball import Ball
from epsball.chapter.claim import Claim, Decision, Tables
from epsball.chapter.evidence import Order, pattern
from epsball.chapter.item import Item
from epsball.chapter.items.columns import SEARCH, stands
from epsball.chapter.laboratory import Laboratory
from epsball.chapter.networks import FAR, base
from epsball.chapter.zoo.bases import FGSM as FGSM_STEP
from epsball.figures import LIGHT_GREY, SEQUENTIAL, SKY, SMALL, new_figure
from epsball.masking.landscape import landscape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FGSM, PGD = FAR
NETWORKS = {FGSM: "trained by FGSM", PGD: "trained by PGD"}
POINTS, REACH = 41, 1.5
DIRECTIONS = ("gradient", "random")
ATTACKS = {"one-step": FGSM_STEP, "pgd": SEARCH}
"""One step as in training, and PGD-20: how far training in one step has collapsed."""


def measure(laboratory: Laboratory) -> Tables:
    """Return the numbers of the landscapes of both networks, and the map of the example of largest gamma."""
    x, y = laboratory.examples(laboratory.subject, first=laboratory.pick(fast=100, default=300))
    ball = Ball.parse(base(PGD, laboratory.subject, laboratory.size).ball)
    rows: dict[str, list[float] | list[bool]] = {}
    maps: dict[str, list[float]] = {}
    outlines: dict[str, dict[str, list[float]]] = {}
    chosen = None
    for name in NETWORKS:
        network = laboratory.network(name)
        found = landscape(network, x, y, ball, directions=DIRECTIONS, points=3, seed=laboratory.seed)
        numbers = found.numbers["cross-entropy"]
        for column in ("change", "first", "gamma", "curvature", "cosine"):
            rows[f"{name}.{column}"] = getattr(numbers, column).tolist()
        for attack, method in ATTACKS.items():
            rows[f"{name}.{attack}"] = stands(network, (x, y), ball, method, seed=laboratory.seed)
        if chosen is None:
            chosen = int(numbers.gamma.nan_to_num(-1.0).argmax())
        one = slice(chosen, chosen + 1)
        shown = landscape(
            network, x[one], y[one], ball, directions=DIRECTIONS, points=POINTS, reach=REACH, seed=laboratory.seed
        )
        maps[name] = shown.loss[0].flatten().tolist()
        corners = torch.as_tensor(shown.outline[0])
        outlines[f"outline {name}"] = {"x": corners[:, 0].tolist(), "y": corners[:, 1].tolist()}
    return {"numbers": rows, "maps": maps, **outlines}


def _collapse(tables: Tables) -> str:
    """Return how far training in one step has collapsed: what stands under its own step, and under PGD."""
    own, pgd, control = (
        float(np.mean(np.asarray(tables["numbers"][column], dtype=bool)))
        for column in (f"{FGSM}.one-step", f"{FGSM}.pgd", f"{PGD}.pgd")
    )
    said = (
        f"Of the FGSM-trained network {own:.2f} stand under one step, {pgd:.2f} under PGD-20, of the PGD-trained one "
        f"{control:.2f} under PGD-20"
    )
    small = "the collapse is partial on this small network, and its curvature overlaps that of PGD training"
    return f"{said}: {small if pgd < control else 'training in one step has not collapsed here'}."


def _curved(tables: Tables) -> Decision:
    rows = tables["numbers"]
    return pattern(
        *(
            Order(greater=rows[f"{FGSM}.{c}"], less=rows[f"{PGD}.{c}"], names=(f"{c}: FGSM-trained", "PGD-trained"))
            for c in ("gamma", "curvature")
        ),
        otherwise=_collapse(tables),
    )


def _linear(tables: Tables) -> Decision:
    rows = tables["numbers"]
    errors = {
        name: np.abs(np.subtract(*(np.asarray(rows[f"{name}.{c}"], dtype=float) for c in ("change", "first")))).tolist()
        for name in NETWORKS
    }
    return pattern(
        Order(
            greater=errors[FGSM],
            less=errors[PGD],
            names=("first-order error of FGSM's step: FGSM-trained", "PGD-trained"),
        ),
        otherwise=_collapse(tables),
    )


def draw(tables: Tables) -> "Figure":
    """Return the loss in a plane around one example, of both networks on one scale, with the outline of the ball."""
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(9.6, 4.8)
    axis = np.linspace(-REACH, REACH, POINTS)
    grid = {name: np.asarray(column, dtype=float).reshape(POINTS, POINTS) for name, column in tables["maps"].items()}
    top = max(float(np.nanmax(values)) for values in grid.values()) or 1.0
    levels = MaxNLocator(12).tick_values(0.0, top)
    panels, filled = figure.subplots(1, 2, sharey=True), []
    for axes, (name, words) in zip(panels, NETWORKS.items(), strict=True):
        filled.append(axes.contourf(axis, axis, grid[name], levels=levels, cmap=SEQUENTIAL))
        axes.contour(axis, axis, grid[name], levels=levels, colors=LIGHT_GREY, linewidths=0.5)
        corners = tables[f"outline {name}"]
        axes.plot(
            [*corners["x"], corners["x"][0]], [*corners["y"], corners["y"][0]], color=SKY, linewidth=1.6, label="N(x)"
        )
        axes.plot(0, 0, "o", color=SKY, markersize=5, label="x")
        axes.set(xlabel="along the gradient's sign (radii)", aspect="equal", xlim=(-REACH, REACH), ylim=(-REACH, REACH))
        axes.set_title(words, fontsize=11)
    panels[0].set_ylabel("along a random direction (radii)")
    panels[0].legend(loc="lower left", fontsize=SMALL)
    figure.colorbar(filled[0], ax=panels, label="cross-entropy")
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
