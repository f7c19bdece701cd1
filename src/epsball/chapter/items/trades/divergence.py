"""Eq. (4): the divergence of TRADES, its gradient at x' = x, and the gradient through both arguments."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from epsball.attacks.losses import kl
from epsball.chapter.claim import Claim, Decision, Tables
from epsball.chapter.evidence import Order, pattern, without_exception
from epsball.chapter.item import Item
from epsball.chapter.laboratory import Laboratory
from epsball.figures import BLUE, GREY, VERMILION, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOVES = (0.0, 1e-3, 1e-2, 1e-1)
"""Lengths of a random displacement, in standard deviations per pixel; TRADES starts at 1e-3."""


def measure(laboratory: Laboratory) -> Tables:
    """Return gradients of KL(h(x) || h(x')) in x', and in the weights with and without the first argument."""
    x, _ = laboratory.examples(laboratory.subject, first=200)
    network = laboratory.network("standard").network.double()
    x = x.double()
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(laboratory.seed), dtype=x.dtype)
    rows: dict[str, list[float]] = {}
    for move in MOVES:
        points = (x + move * noise).requires_grad_()
        with torch.no_grad():
            target = network(x)
        divergence = kl(network(points), reference=target)
        (gradient,) = torch.autograd.grad(divergence.sum(), points)
        rows[f"gradient.{move:g}"] = gradient.flatten(1).norm(dim=1).tolist()
        rows[f"divergence.{move:g}"] = divergence.tolist()
    both, stopped = (_weight_gradients(network, x, x + 0.1 * noise, through) for through in (True, False))
    similar = torch.nn.functional.cosine_similarity(both, stopped, dim=1)
    return {
        "examples": rows,
        "weights": {"cosine": similar.tolist(), "ratio": (stopped.norm(dim=1) / both.norm(dim=1)).tolist()},
    }


def _weight_gradients(network: torch.nn.Module, x: Tensor, x_adv: Tensor, through: bool) -> Tensor:
    """Return the gradient of each example's divergence in all weights, through h(x) too or not."""
    weights = [parameter.requires_grad_() for parameter in network.parameters()]
    found = []
    for clean, moved in zip(x[:40].split(1), x_adv[:40].split(1), strict=True):
        target = network(clean)
        divergence = kl(network(moved), reference=target if through else target.detach()).sum()
        parts = torch.autograd.grad(divergence, weights, allow_unused=True)
        found.append(torch.cat([part.flatten() for part in parts if part is not None]))
    return torch.stack(found)


def _zero(tables: Tables) -> Decision:
    norms = np.asarray(tables["examples"]["gradient.0"], dtype=float)
    return without_exception(
        np.flatnonzero(norms > 1e-12).tolist(),
        len(norms),
        "the gradient of the divergence at x' = x is zero in float64",
    )


def _moved(tables: Tables) -> Decision:
    rows = tables["examples"]
    return pattern(
        Order(greater=rows["gradient.0.001"], less=rows["gradient.0"], names=("gradient at x + .001 noise", "at x")),
        otherwise="The divergence is flat around x.",
    )


def _arguments(tables: Tables) -> Decision:
    cosine = np.asarray(tables["weights"]["cosine"], dtype=float)
    sentence = (
        f"on {len(cosine)} examples the gradient in the weights through both arguments and the one through h(x') alone "
        f"have cosines {cosine.min():.2f} to {cosine.max():.2f}, median {np.median(cosine):.2f}."
    )
    if np.median(cosine) < 0.99:
        return Decision(verdict="pattern", sentence=sentence)
    why = " The gradient through h(x), which the two differ by, is small here."
    return Decision(verdict="differs", sentence=sentence + why)


def draw(tables: Tables) -> "Figure":
    """Return the gradient over the displacement, and the cosines."""
    figure = new_figure(9.6, 3.6)
    over, cosines = figure.subplots(1, 2)
    places = np.maximum(np.asarray(MOVES), 1e-4)
    columns = [np.maximum(np.asarray(tables["examples"][f"gradient.{m:g}"], dtype=float), 1e-18) for m in MOVES]
    over.plot(places, [np.median(c) for c in columns], "o-", color=BLUE, label="median of 200 examples")
    for place, column in zip(places, columns, strict=True):
        over.plot([place, place], np.quantile(column, [0.1, 0.9]), color=GREY, linewidth=3, alpha=0.5)
    over.set(xscale="log", yscale="log", xticks=places, xticklabels=["none", *(f"{move:g}" for move in MOVES[1:])])
    over.set(xlabel="displacement of x' (standard deviations per pixel)", ylabel="norm of the gradient of KL in x'")
    over.minorticks_off()
    over.legend(frameon=False, loc="lower right")
    cosines.hist(np.asarray(tables["weights"]["cosine"], dtype=float), bins=20, color=VERMILION)
    cosines.set(xlabel="cosine of both gradients in the weights", ylabel="examples")
    return figure


ITEM = Item(
    name="trades-divergence",
    section="17.3.2",
    title="The divergence of TRADES",
    claims=(
        Claim(
            name="zero-gradient",
            says="x' is found by ascent of KL(h(x) || h(x')) from x + xi (17.3.3).",
            criterion="At xi = 0 the gradient is zero on every example: the start must be moved.",
            decide=_zero,
            truth="Published: xi = .001 times a standard normal.",
        ),
        Claim(
            name="moved",
            says="From a moved start the ascent has a direction.",
            criterion="The gradient at x + .001 noise is larger than at x (sign test).",
            decide=_moved,
        ),
        Claim(
            name="arguments",
            says="The update adds beta times the gradient of D_KL(h(x), h(x_adv)) in the parameters (17.3.4).",
            criterion="Whether it goes through h(x) too matters: the median cosine of both gradients is below .99.",
            decide=_arguments,
            truth="The outer gradient flows through both arguments; only the inner search holds h(x) constant.",
        ),
    ),
    measure=measure,
    draw=draw,
    networks=("standard",),
)
