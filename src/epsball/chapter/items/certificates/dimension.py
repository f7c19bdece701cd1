"""17.4.4: the radius that can be certified, against the input's dimension."""

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from epsball import models, training
from epsball.ball import Ball
from epsball.certificates import certify
from epsball.chapter.claim import Claim, Decision, Tables
from epsball.chapter.evidence import Order, pattern
from epsball.chapter.item import Item
from epsball.chapter.items.columns import Examples
from epsball.chapter.laboratory import NETWORKS, Laboratory
from epsball.classifier import Classifier
from epsball.figures import BLACK, BLUE, GREY, new_figure
from epsball.generator_state import preserved

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDES = (8, 16, 32)
"""Of the digits, made larger by bilinear interpolation: the same classes in more pixels."""

GRID = tuple(np.geomspace(0.002, 0.25, 15).tolist())


def measure(laboratory: Laboratory) -> Tables:
    """Return the largest radius of a grid at which CROWN certifies each example, of one network per side."""
    train, test = (laboratory.examples("digits", split) for split in ("train", "test"))
    count = laboratory.pick(fast=40, default=300)
    rows: dict[str, list[float]] = {}
    for side in SIDES:
        (x, y), (z, labels) = (_resized(pair, side) for pair in (train, test))
        classifier = _trained(laboratory, side, (x, y))
        reached = torch.zeros(count, dtype=torch.float64)
        for radius in GRID:
            found = certify(classifier, z[:count], labels[:count], Ball("linf", radius), method="crown")
            reached = torch.where(found.certified, torch.full_like(reached, radius), reached)
        rows[f"{side * side}"] = reached.tolist()
    return {"radius": rows}


def _trained(laboratory: Laboratory, side: int, train: Examples) -> Classifier:
    """Return the network of a side; what its folder holds is not trained again."""
    with preserved(laboratory.seed):
        module = models.load("mlp,hidden=64:64", shape=tuple(train[0].shape[1:]), classes=10).module
    recipe = training.Recipe(epochs=20, batch_size=64, optimiser="adam", lr=2e-3, holdout=0.05, seed=laboratory.seed)
    name = f"digits-side-{side}"
    folder = laboratory.out / NETWORKS / name
    laboratory.trained_once(name, lambda: training.train(module, train, recipe=recipe, folder=folder))
    return Classifier(module)


def _resized(pair: Examples, side: int) -> Examples:
    x, y = pair
    larger = torch.nn.functional.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)
    return larger.clamp(0.0, 1.0), y


def _smaller(tables: Tables) -> Decision:
    rows = tables["radius"]
    names = [str(side * side) for side in SIDES]
    return pattern(
        *(
            Order(greater=rows[few], less=rows[many], names=(f"certified radius: {few} pixels", f"{many} pixels"))
            for few, many in pairwise(names)
        ),
        otherwise="The larger images are interpolated and show nothing new: a network that averages "
        "neighbouring pixels keeps the certified radius of the smaller image.",
    )


def draw(tables: Tables) -> "Figure":
    """Return the certified radii over the dimension, and 1/sqrt(d) and 1/d for comparison."""
    figure = new_figure(5.6, 3.8)
    axes, rows = figure.subplots(), tables["radius"]
    pixels = np.array([side * side for side in SIDES], dtype=float)
    values = [np.asarray(rows[str(side * side)], dtype=float) for side in SIDES]
    medians = np.array([np.median(value) for value in values])
    ends = np.array([np.quantile(value, [0.25, 0.75]) for value in values])
    axes.vlines(pixels, ends[:, 0], ends[:, 1], color=GREY, linewidth=4, alpha=0.5, label="middle half of the examples")
    axes.plot(pixels, medians, "o-", color=BLUE, label="median")
    if medians[0] > 0:
        axes.plot(pixels, medians[0] * (pixels[0] / pixels) ** 0.5, ":", color=BLACK, linewidth=1, label="as 1/√d")
    axes.set(xscale="log", xticks=pixels, xticklabels=[f"{int(p)}" for p in pixels])
    axes.set(xlabel="input dimension d (pixels)", ylabel="certified radius (linf)")
    axes.set_ylim(bottom=0.0)
    axes.minorticks_off()
    axes.legend(frameon=False)
    return figure


ITEM = Item(
    name="dimension",
    section="17.4.4",
    title="Certified radius against the dimension",
    claims=(
        Claim(
            name="smaller",
            says="Only small norms can be certified, especially in high dimension.",
            criterion="The same images in four times as many pixels have smaller certified radii (sign tests).",
            decide=_smaller,
        ),
    ),
    measure=measure,
    draw=draw,
)
