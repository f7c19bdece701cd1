"""17.2.1: examples at which the loss is flat although a witness is near."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from epsball.attacks import attack
from epsball.chapter.claim import Claim, Decision, Tables
from epsball.chapter.evidence import Order, pattern
from epsball.chapter.item import Item
from epsball.chapter.laboratory import Laboratory
from epsball.chapter.networks import PGD
from epsball.classifier import Classifier
from epsball.figures import SMALL, line_style, new_figure
from epsball.masking.geometry import Surface

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLAT = 1e-3
"""A gradient that promises less than this change of the loss over the radius is called flat."""

SCALE = 50.0
"""Of the logits of the masked network: its softmax saturates and the loss's gradient vanishes in float32."""

NETWORKS = {"standard": "standard", "scaled": "standard, logits x 50", PGD: "PGD training"}


class Scaled(torch.nn.Module):
    """A network whose logits are multiplied by a number: the same decisions, other losses."""

    def __init__(self, network: torch.nn.Module, factor: float) -> None:
        super().__init__()
        self.network, self.factor = network, factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the scaled logits."""
        return self.factor * self.network(x)


def measure(laboratory: Laboratory) -> Tables:
    """Return what the gradient promises over the radius, and whether PGD and the ensemble find a witness."""
    x, y = laboratory.examples(laboratory.subject, first=laboratory.pick(fast=300, default=1000))
    standard, ball, rows = laboratory.network("standard"), laboratory.ball(), {}
    networks = {
        "standard": standard,
        "scaled": Classifier(Scaled(standard.network, SCALE)),
        PGD: laboratory.network(PGD),
    }
    for name, network in networks.items():
        surface = Surface.of(network, x, y, "cross-entropy")
        with network.in_use():
            _, gradient = surface.gradients(x)
        promise = float(ball.radius) * ball.dual_norm(gradient)
        rows[f"{name}.promise"] = promise.tolist()
        for method in ("pgd,steps=20", "ensemble"):
            found = attack(network, x, y, ball, method=method, seed=laboratory.seed)
            rows[f"{name}.{method.partition(',')[0]}"] = (~found.broken).tolist()
    return {"examples": rows}


def _exist(tables: Tables) -> Decision:
    rows = tables["examples"]
    promise = np.asarray(rows["scaled.promise"], dtype=float)
    broken = ~np.asarray(rows["scaled.ensemble"], dtype=bool)
    found = int(((promise < FLAT) & broken).sum())
    sentence = (
        f"with scaled logits {int((promise < FLAT).sum())} of {len(promise)} examples promise a change of the loss "
        f"below {FLAT:g} over the radius; {found} of them have a witness in the ball."
    )
    return Decision(verdict="pattern" if found else "differs", sentence=sentence)


def _fail(tables: Tables) -> Decision:
    rows = tables["examples"]
    return pattern(
        Order(
            greater=rows["scaled.pgd"],
            less=rows["scaled.ensemble"],
            names=("scaled logits: stands under PGD on the cross-entropy", "under the ensemble"),
        ),
        otherwise="The gradients that are left suffice for PGD.",
    )


def _same(tables: Tables) -> Decision:
    rows = tables["examples"]
    same = np.asarray(rows["scaled.ensemble"]) == np.asarray(rows["standard.ensemble"])
    said = f"the ensemble's verdicts are the same on {int(same.sum())} of {len(same)} examples."
    if same.mean() >= 0.99:
        return Decision(verdict="pattern", sentence=said)
    return Decision(verdict="differs", sentence=f"{said} Scaled logits round otherwise: the searches take other ways.")


def draw(tables: Tables) -> "Figure":
    """Return how many examples promise at least a change, over the change."""
    figure = new_figure(6.0, 3.8)
    axes = figure.subplots()
    for number, (name, words) in enumerate(NETWORKS.items()):
        promise = np.sort(np.maximum(np.asarray(tables["examples"][f"{name}.promise"], dtype=float), 1e-12))
        axes.step(promise, np.arange(1, len(promise) + 1) / len(promise), **line_style(number), label=words)
    axes.axvline(FLAT, color="0.4", linewidth=0.8, linestyle=":")
    axes.set(xscale="log", xlabel="first-order change of the loss over the radius", ylabel="share of examples below")
    axes.legend(frameon=False, fontsize=SMALL)
    return figure


ITEM = Item(
    name="flat-regions",
    section="17.2.1",
    title="Flat regions",
    claims=(
        Claim(
            name="exist",
            says="There are flat regions, with a tiny gradient although nearby points have a much larger loss.",
            criterion=f"Examples exist whose gradient promises less than {FLAT:g} and which have a witness.",
            decide=_exist,
        ),
        Claim(
            name="fail",
            says="Attacks that rely on the gradient may fail there, which looks like robustness.",
            criterion="More examples stand under PGD on the cross-entropy than under the ensemble (McNemar).",
            decide=_fail,
        ),
        Claim(
            name="no-robustness",
            says="Masking does not constitute robustness (17.2.3).",
            criterion="Scaling the logits leaves the ensemble's verdicts the same on 99% of the examples.",
            decide=_same,
        ),
    ),
    measure=measure,
    draw=draw,
    networks=("standard", PGD),
)
