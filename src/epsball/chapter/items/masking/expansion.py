"""Eq. (3): what gradient and curvature at x say about the loss elsewhere in the ball."""

from typing import TYPE_CHECKING

import numpy as np

from epsball.chapter.claim import Claim, Decision, Tables
from epsball.chapter.evidence import Order, pattern
from epsball.chapter.item import Item
from epsball.chapter.laboratory import Laboratory
from epsball.chapter.networks import PGD
from epsball.figures import BLACK, GREY, VERMILION, new_figure
from epsball.masking.geometry import Surface, expansion
from epsball.randomness import Keys

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARES = (0.01, 0.1, 1.0)
"""Lengths of the steps, in radii."""


def measure(laboratory: Laboratory) -> Tables:
    """Return the true change of the loss and both terms, along the gradient's sign and along a random direction."""
    x, y = laboratory.examples(laboratory.subject, first=laboratory.pick(fast=200, default=1000))
    network, ball = laboratory.network(PGD), laboratory.ball()
    surface = Surface.of(network, x, y, "cross-entropy")
    keys = Keys.of_examples(x, y, laboratory.seed).derive("expansion")
    rows: dict[str, list[float]] = {}
    with network.in_use():
        _, gradient = surface.gradients(x)
        sign = ball.project(x + float(ball.radius) * gradient.sign(), x)
        for name, end in (("gradient", sign), ("random", ball.sample(x, keys))):
            for share in SHARES:
                found = expansion(surface, x + share * (end - x))
                for column in ("change", "first", "second"):
                    rows[f"{name}.{share:g}.{column}"] = getattr(found, column).tolist()
    return {"terms": rows}


def _error(tables: Tables, name: str, share: float, *columns: str) -> np.ndarray:
    """Return |change - sum of these terms| relative to |change|."""
    rows = tables["terms"]
    change, *terms = (np.asarray(rows[f"{name}.{share:g}.{c}"], dtype=float) for c in ("change", *columns))
    return np.abs(change - sum(terms)) / np.maximum(np.abs(change), 1e-12)


def _near(tables: Tables) -> Decision:
    return pattern(
        *(
            Order(
                greater=_error(tables, name, 1.0, "first").tolist(),
                less=_error(tables, name, 0.01, "first").tolist(),
                names=(f"{name}: relative error of the first term at a radius", "at a hundredth"),
            )
            for name in ("gradient", "random")
        ),
        otherwise="The loss is linear over the whole ball.",
    )


def _second(tables: Tables) -> Decision:
    return pattern(
        Order(
            greater=_error(tables, "gradient", 0.1, "first").tolist(),
            less=_error(tables, "gradient", 0.1, "first", "second").tolist(),
            names=("error of the first term at .1 radius", "of both terms"),
        ),
        otherwise="The kinks of a ReLU network lie nearer than a tenth of the radius.",
    )


def draw(tables: Tables) -> "Figure":
    """Return what the terms say against the true change, at a tenth of the radius and at the radius."""
    figure = new_figure(9.6, 4.0)
    for axes, share in zip(figure.subplots(1, 2), SHARES[1:], strict=True):
        rows = {
            c: np.asarray(tables["terms"][f"gradient.{share:g}.{c}"], dtype=float)
            for c in ("change", "first", "second")
        }
        axes.scatter(rows["change"], rows["first"], s=10, color=BLACK, alpha=0.5, label="first term")
        axes.scatter(
            rows["change"],
            rows["first"] + rows["second"],
            s=12,
            marker="^",
            color=VERMILION,
            alpha=0.5,
            label="both terms",
        )
        axes.axline((0, 0), slope=1, color=GREY, linewidth=0.8, linestyle="--")
        axes.set(xlabel="true change of the loss", ylabel="predicted change")
        axes.set_title(f"along the gradient's sign, {share:g} radius", fontsize=10)
        axes.legend(frameon=False)
    return figure


ITEM = Item(
    name="expansion",
    section="17.2.1",
    title="The expansion of the loss",
    claims=(
        Claim(
            name="local",
            says="The gradient approximates the change of the loss for infinitesimal perturbations (eq. (3)).",
            criterion="The first term's relative error at the whole radius exceeds that at a hundredth (sign test).",
            decide=_near,
        ),
        Claim(
            name="second",
            says="The second-order term takes up curvature.",
            criterion="At a tenth of the radius both terms together are nearer than the first (sign test).",
            decide=_second,
            truth="A ReLU network's logits have no curvature almost everywhere; the second term is measured by "
            "differences of gradients at the scale of the step, and is that of the cross-entropy and of the kinks.",
        ),
    ),
    measure=measure,
    draw=draw,
    networks=(PGD,),
)
