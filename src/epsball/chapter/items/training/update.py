"""Eq. (2): the gradient of the worst loss is that of the loss at the worst point, held constant."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import softplus

from epsball.ball import Ball
from epsball.chapter.claim import Claim, Decision, Tables
from epsball.chapter.evidence import without_exception
from epsball.chapter.item import Item
from epsball.chapter.laboratory import Laboratory
from epsball.figures import BLACK, GREY, new_figure
from epsball.randomness import Keys
from epsball.training import resolve
from epsball.training.objectives.objective import Context

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RADIUS, FEATURES, PROBLEMS, DIFFERENCE = 0.1, 6, 40, 1e-6


def measure(laboratory: Laboratory) -> Tables:
    """Return the gradient by PGD's objective and the differences of the exact worst loss, of linear classifiers.

    For logits (0, w.x + b) the worst point of label y = 1 is x - eps sign(w), of label 0 it is x + eps sign(w): the
    worst loss is known exactly.
    """
    generator = torch.Generator().manual_seed(laboratory.seed)
    objective = resolve(f"pgd,steps=5,step_size={2 * RADIUS}", Ball("linf", RADIUS, low=None, high=None))
    rows: dict[str, list[float]] = {"update": [], "difference": []}
    for _ in range(PROBLEMS):
        layer = torch.nn.Linear(FEATURES, 2).double()
        torch.nn.init.normal_(layer.weight, generator=generator)
        torch.nn.init.normal_(layer.bias, generator=generator)
        x = torch.rand(16, FEATURES, generator=generator, dtype=torch.float64)
        y = torch.randint(2, (16,), generator=generator)
        rows_of = torch.arange(len(x))
        keys = Keys.of_positions(rows_of, laboratory.seed)
        losses = objective(layer, x, y, Context(step=0, keys=keys, positions=rows_of, total=len(x), state={}))
        losses.examples.mean().backward()
        gradient = layer.weight.grad
        if gradient is None:
            continue
        for place in ((0, 0), (1, FEATURES - 1)):
            rows["update"].append(float(gradient[place]))
            rows["difference"].append(_difference(layer, x, y, place))
    return {"derivatives": rows}


@torch.no_grad()
def _difference(layer: torch.nn.Linear, x: torch.Tensor, y: torch.Tensor, place: tuple[int, int]) -> float:
    """Return the central difference of the exact worst loss in one weight."""
    values = []
    for step in (DIFFERENCE, -DIFFERENCE):
        layer.weight[place] += step
        values.append(_worst_loss(layer, x, y))
        layer.weight[place] -= step
    return (values[0] - values[1]) / (2.0 * DIFFERENCE)


def _worst_loss(layer: torch.nn.Linear, x: torch.Tensor, y: torch.Tensor) -> float:
    w, b = layer.weight[1] - layer.weight[0], layer.bias[1] - layer.bias[0]
    margin = (2 * y - 1) * (x @ w + b) - RADIUS * w.abs().sum()
    return float(softplus(-margin).mean())


def _equal(tables: Tables) -> Decision:
    update, difference = (np.asarray(tables["derivatives"][name], dtype=float) for name in ("update", "difference"))
    off = np.flatnonzero(np.abs(update - difference) > 1e-7 + 1e-6 * np.abs(update)).tolist()
    return without_exception(
        off, len(update), "the gradient at PGD's point, held constant, is that of the exact worst loss"
    )


def draw(tables: Tables) -> "Figure":
    """Return both derivatives against each other."""
    figure = new_figure(4.8, 4.0)
    axes = figure.subplots()
    axes.scatter(tables["derivatives"]["difference"], tables["derivatives"]["update"], s=14, color=BLACK, alpha=0.5)
    axes.axline((0, 0), slope=1, color=GREY, linewidth=0.8, linestyle="--")
    axes.set(xlabel="difference quotient of the exact worst loss", ylabel="gradient of eq. (2)")
    return figure


ITEM = Item(
    name="update",
    section="17.1.2",
    title="The parameter update",
    claims=(
        Claim(
            name="gradient",
            says="The parameters follow the gradient of the loss at x_adv.",
            criterion="With x_adv held constant it equals the difference quotient of the exact worst loss of linear "
            "classifiers, to 1e-6 (Danskin).",
            decide=_equal,
            truth="x_adv is a constant in it, and the loss is the mean of the batch.",
        ),
    ),
    measure=measure,
    draw=draw,
)
